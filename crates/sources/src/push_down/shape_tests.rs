//! What SQL text cannot show: nodes that the SQL planner does not make, order kept in physical plans, rows without columns.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{
    Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Volatility, col, create_udf, lit,
};
use datafusion::physical_plan::ColumnarValue;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner as _};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::{push_down, push_down_to_build, remote_statements, remote_statements_of_exec};
use crate::{
    BaseColumn, Dialect, Fence, FencePlanner, RemoteSource, RemoteTable, SourceColumn, SourceError, Statement,
};

/// Answers every statement with two rows of ones.
#[derive(Debug)]
struct Ones(Dialect);

#[async_trait]
impl RemoteSource for Ones {
    fn name(&self) -> &str {
        "ones"
    }

    fn dialect(&self) -> Dialect {
        self.0
    }

    async fn describe(&self, _: &str) -> Result<Vec<SourceColumn>, SourceError> {
        Ok(vec![])
    }

    fn read(self: Arc<Self>, _: Statement, schema: SchemaRef) -> SendableRecordBatchStream {
        let columns = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Int32 => Arc::new(Int32Array::from(vec![1, 1])) as ArrayRef,
            _ => Arc::new(Int64Array::from(vec![1, 1])) as ArrayRef,
        });
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect());
        let rows = futures::stream::iter([batch.map_err(Into::into)]);
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

fn scan(dialect: Dialect, alias: &str) -> Result<LogicalPlanBuilder, Box<dyn Error>> {
    let column = |name: &str, data_type, nullable, by_code_point| BaseColumn {
        sql: format!("{alias}.{name}"),
        field: Field::new(name, data_type, nullable),
        compares_by_code_point: by_code_point,
    };
    let columns = vec![
        column("id", DataType::Int64, false, true),
        column("n", DataType::Int64, true, true),
        column("mood", DataType::Utf8, true, false),
    ];
    let table = RemoteTable::base(Arc::new(Ones(dialect)), "things".to_owned(), columns, alias.to_owned());
    Ok(LogicalPlanBuilder::scan(alias, provider_as_source(Arc::new(table)), None)?)
}

/// The statements of `plan` after push-down, whose schema must not change, nor that of what stays above.
fn statements(plan: &LogicalPlan) -> Result<Vec<String>, Box<dyn Error>> {
    let pushed = push_down(plan.clone())?;
    let same = plan.schema().iter().eq(pushed.schema().iter());
    assert!(same, "{:?} became {:?}", plan.schema(), pushed.schema());
    Ok(remote_statements(&pushed)?.into_iter().map(|(_, statement)| statement.sql).collect())
}

#[test]
fn distinct_rows_stay_distinct_when_a_column_is_dropped_above() -> Result<(), Box<dyn Error>> {
    let plan = scan(Dialect::MySql, "t")?.distinct()?.project([col("t.n")])?.build()?;
    assert_eq!(
        statements(&plan)?,
        [concat!(
            "SELECT t0.c1 AS c0 FROM (SELECT DISTINCT t0.c0 AS c0, t0.c1 AS c1, ",
            "(CONVERT(t0.c2 USING utf8mb4) COLLATE utf8mb4_nopad_bin) AS c2 ",
            "FROM (SELECT t.id AS c0, t.n AS c1, t.mood AS c2 FROM things AS t) AS t0) AS t0"
        )]
    );
    Ok(())
}

#[test]
fn a_limit_below_distinct_is_taken_first() -> Result<(), Box<dyn Error>> {
    let plan = scan(Dialect::Postgres, "t")?
        .project([col("t.n")])?
        .limit(1, Some(5))?
        .distinct()?
        .limit(2, Some(9))?
        .build()?;
    assert_eq!(
        statements(&plan)?,
        [concat!(
            "SELECT DISTINCT t0.c0 AS c0 FROM (SELECT t0.c1 AS c0 FROM (SELECT t.n AS c1 FROM things AS t) AS t0 ",
            "LIMIT 5 OFFSET 1) AS t0 LIMIT 9 OFFSET 2"
        )]
    );
    Ok(())
}

#[test]
fn two_limits_become_the_narrower_one() -> Result<(), Box<dyn Error>> {
    let plan = scan(Dialect::Postgres, "t")?.project([col("t.n")])?.limit(3, Some(5))?.limit(4, Some(9))?.build()?;
    let expected = "SELECT t0.c1 AS c0 FROM (SELECT t.n AS c1 FROM things AS t) AS t0 LIMIT 1 OFFSET 7";
    assert_eq!(statements(&plan)?, [expected]);
    Ok(())
}

fn join(dialect: Dialect, join_type: JoinType, equality: NullEquality) -> Result<LogicalPlan, Box<dyn Error>> {
    let right = scan(dialect, "r")?.project([col("r.n")])?.build()?;
    let keys = (vec![Column::from_qualified_name("l.n")], vec![Column::from_qualified_name("r.n")]);
    let left = scan(dialect, "l")?.filter(col("l.id").gt(lit(1_i64)))?.project([col("l.n")])?;
    Ok(left.join_detailed(right, join_type, keys, None, equality)?.build()?)
}

#[test]
fn right_semi_and_anti_joins_keep_the_right_side() -> Result<(), Box<dyn Error>> {
    for (join_type, exists) in [(JoinType::RightSemi, "EXISTS"), (JoinType::RightAnti, "NOT EXISTS")] {
        let plan = join(Dialect::Postgres, join_type, NullEquality::NullEqualsNothing)?;
        let expected = format!(
            "SELECT t0.c1 AS c0 FROM (SELECT r.n AS c1 FROM things AS r) AS t0 WHERE {exists} \
             (SELECT 1 FROM (SELECT l.id AS c0, l.n AS c1 FROM things AS l) AS t1 \
             WHERE (t1.c1 = t0.c1) AND (t1.c0 > $1::int8))"
        );
        assert_eq!(statements(&plan)?, [expected]);
    }
    Ok(())
}

#[test]
fn a_full_join_filters_its_sides_before() -> Result<(), Box<dyn Error>> {
    let plan = join(Dialect::Postgres, JoinType::Full, NullEquality::NullEqualsNothing)?;
    assert_eq!(
        statements(&plan)?,
        [concat!(
            "SELECT t0.c0 AS c0, t1.c1 AS c1 FROM (SELECT t0.c1 AS c0 FROM ",
            "(SELECT l.id AS c0, l.n AS c1 FROM things AS l) AS t0 WHERE (t0.c0 > $1::int8)) AS t0 ",
            "FULL JOIN (SELECT r.n AS c1 FROM things AS r) AS t1 ON (t0.c0 = t1.c1)"
        )]
    );
    Ok(())
}

#[test]
fn a_full_join_on_null_safe_keys_stays_here() -> Result<(), Box<dyn Error>> {
    let left = "SELECT t0.c1 AS c0 FROM (SELECT l.id AS c0, l.n AS c1 FROM things AS l) AS t0 WHERE (t0.c0 > $1::int8)";
    let right = "SELECT r.n AS c0 FROM things AS r";
    let plan = join(Dialect::Postgres, JoinType::Full, NullEquality::NullEqualsNull)?;
    assert_eq!(statements(&plan)?, [left, right]);
    Ok(())
}

#[test]
fn a_mark_join_stays_here() -> Result<(), Box<dyn Error>> {
    let plan = join(Dialect::MySql, JoinType::LeftMark, NullEquality::NullEqualsNothing)?;
    let left = "SELECT t0.c1 AS c0 FROM (SELECT l.id AS c0, l.n AS c1 FROM things AS l) AS t0 WHERE (t0.c0 > CAST(? AS SIGNED))";
    assert_eq!(statements(&plan)?, [left, "SELECT r.n AS c0 FROM things AS r"]);
    Ok(())
}

#[test]
fn postgres_text_that_is_more_than_text_is_cast_in_the_base_scan() -> Result<(), Box<dyn Error>> {
    let plan = scan(Dialect::Postgres, "t")?.project([col("t.mood")])?.filter(col("t.mood").eq(lit("sad")))?.build()?;
    assert_eq!(
        statements(&plan)?,
        [concat!(
            "SELECT t0.c2 AS c0 FROM (SELECT ((t.mood)::pg_catalog.text COLLATE pg_catalog.\"C\") AS c2 FROM things AS t) ",
            "AS t0 WHERE (t0.c2 = $1::text)"
        )]
    );
    Ok(())
}

#[test]
fn equal_to_any_of_a_literal_array_is_a_list() -> Result<(), Box<dyn Error>> {
    let items = |values: Vec<Option<i64>>| {
        let values: Vec<ScalarValue> = values.into_iter().map(ScalarValue::Int64).collect();
        Expr::Literal(ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int64)), None)
    };
    let any = |values| -> Result<Vec<String>, Box<dyn Error>> {
        let array = items(values);
        let array_type = array.get_type(&datafusion::common::DFSchema::empty())?;
        let never = Arc::new(|_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Null)));
        let function =
            create_udf("pg_eq_any", vec![DataType::Int64, array_type], DataType::Boolean, Volatility::Immutable, never);
        let plan = scan(Dialect::MySql, "t")?.project([col("t.n")])?;
        statements(&plan.filter(function.call(vec![col("t.n"), array]))?.build()?)
    };
    assert_eq!(
        any(vec![Some(1), Some(2)])?,
        [concat!(
            "SELECT t0.c1 AS c0 FROM (SELECT t.n AS c1 FROM things AS t) AS t0 ",
            "WHERE (t0.c1 IN (CAST(? AS SIGNED), CAST(? AS SIGNED)))"
        )]
    );
    // NULL and nothing stay here.
    for values in [vec![Some(1), None], vec![]] {
        assert_eq!(any(values)?, ["SELECT t.n AS c0 FROM things AS t"]);
    }
    Ok(())
}

#[tokio::test]
async fn an_order_made_at_the_source_is_not_made_again() -> Result<(), Box<dyn Error>> {
    let plan = scan(Dialect::Postgres, "t")?
        .project([col("t.id"), col("t.n")])?
        .sort_with_limit([col("t.n").sort(false, true), col("t.id").sort(true, false)], Some(3))?
        .project([col("t.id")])?
        .build()?;
    let context = SessionContext::new();
    let exec = context.state().create_physical_plan(&push_down(plan)?).await?;
    assert_eq!(
        displayable(exec.as_ref()).indent(false).to_string(),
        concat!(
            "ProjectionExec: expr=[c0@0 as id]\n",
            "  CooperativeExec\n",
            "    RemoteExec: source=ones, sql=SELECT t0.c0 AS c0, t0.c1 AS c1 FROM ",
            "(SELECT t.id AS c0, t.n AS c1 FROM things AS t) AS t0 ",
            "ORDER BY t0.c1 DESC NULLS FIRST, t0.c0 ASC NULLS LAST LIMIT 3\n",
        )
    );
    assert_eq!(remote_statements_of_exec(&exec).len(), 1);
    Ok(())
}

#[tokio::test]
async fn rows_without_columns_are_counted() -> Result<(), Box<dyn Error>> {
    let context = SessionContext::new();
    let columns = vec![];
    let table = RemoteTable::base(Arc::new(Ones(Dialect::MySql)), "things".to_owned(), columns, "t".to_owned());
    let batches = context.read_table(Arc::new(table))?.collect().await?;
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2]);
    assert_eq!(batches[0].num_columns(), 0);
    Ok(())
}

#[tokio::test]
async fn a_projected_scan_sends_only_its_columns() -> Result<(), Box<dyn Error>> {
    let context = SessionContext::new();
    let builder = scan(Dialect::MySql, "t")?;
    let plan = builder.project([col("t.n")])?.limit(0, Some(1))?.build()?;
    let exec = context.state().create_physical_plan(&context.state().optimize(&plan)?).await?;
    let sent: Vec<String> = remote_statements_of_exec(&exec).into_iter().map(|(_, sent)| sent.sql).collect();
    assert_eq!(sent, ["SELECT t0.c1 AS c0 FROM (SELECT t.n AS c1 FROM things AS t) AS t0 LIMIT 1"]);
    let batches = datafusion::physical_plan::collect(exec, context.task_ctx()).await?;
    assert_eq!(batches[0].schema().field(0).name(), "n");
    Ok(())
}

/// The rows that a condition on `n` lets through, behind a fence.
fn fenced(dialect: Dialect) -> Result<LogicalPlanBuilder, Box<dyn Error>> {
    let below = scan(dialect, "t")?.filter(col("t.n").eq(lit(1_i64)))?.build()?;
    let schema = Arc::clone(below.schema());
    Ok(LogicalPlanBuilder::from(Fence::above(below, schema)))
}

#[test]
fn a_select_below_a_fence_is_merged_with_nothing() -> Result<(), Box<dyn Error>> {
    let groups = |dialect| fenced(dialect)?.aggregate([col("t.id")], Vec::<Expr>::new())?.build().map_err(Box::from);
    let groups: &dyn Fn(Dialect) -> Result<LogicalPlan, Box<dyn Error>> = &groups;
    assert_eq!(
        statements(&groups(Dialect::Postgres)?)?,
        [concat!(
            "SELECT t0.c0 AS c0 FROM (SELECT t0.c0 AS c0 FROM (SELECT t.id AS c0, t.n AS c1 FROM things AS t) AS t0 ",
            "WHERE (t0.c1 = $1::int8) OFFSET 0) AS t0 GROUP BY t0.c0"
        )]
    );
    assert_eq!(
        statements(&groups(Dialect::MySql)?)?,
        [concat!(
            "SELECT t0.c0 AS c0 FROM (SELECT t0.c0 AS c0 FROM (SELECT t.id AS c0, t.n AS c1 FROM things AS t) AS t0 ",
            "WHERE (t0.c1 = CAST(? AS SIGNED)) LIMIT 18446744073709551615) AS t0 GROUP BY t0.c0"
        )]
    );
    Ok(())
}

#[test]
fn only_a_condition_that_cannot_fail_goes_behind_a_fence() -> Result<(), Box<dyn Error>> {
    let plan = fenced(Dialect::Postgres)?.filter(col("t.id").gt(lit(5_i64)))?.build()?;
    assert_eq!(
        statements(&plan)?,
        [concat!(
            "SELECT t0.c0 AS c0, t0.c1 AS c1, t0.c2 AS c2 FROM (SELECT t.id AS c0, t.n AS c1, ",
            "((t.mood)::pg_catalog.text COLLATE pg_catalog.\"C\") AS c2 FROM things AS t) AS t0 ",
            "WHERE (t0.c1 = $1::int8) AND (t0.c0 > $2::int8) OFFSET 0"
        )]
    );
    // The cast of a text is no bare column.
    let plan = fenced(Dialect::Postgres)?.filter(col("t.mood").eq(lit("x")))?.build()?;
    assert_eq!(
        statements(&plan)?,
        [concat!(
            "SELECT t0.c0 AS c0, t0.c1 AS c1, t0.c2 AS c2 FROM (SELECT t0.c0 AS c0, t0.c1 AS c1, t0.c2 AS c2 ",
            "FROM (SELECT t.id AS c0, t.n AS c1, ((t.mood)::pg_catalog.text COLLATE pg_catalog.\"C\") AS c2 ",
            "FROM things AS t) AS t0 WHERE (t0.c1 = $1::int8) OFFSET 0) AS t0 WHERE (t0.c2 = $2::text)"
        )]
    );
    Ok(())
}

#[tokio::test]
async fn what_stays_here_stays_in_order_too() -> Result<(), Box<dyn Error>> {
    let halved = create_udf(
        "halved",
        vec![DataType::Int64],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(|_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))),
    );
    let below = scan(Dialect::Postgres, "t")?.filter(halved.call(vec![col("t.n")]))?.build()?;
    let schema = Arc::clone(below.schema());
    let plan = LogicalPlanBuilder::from(Fence::above(below, schema)).filter(halved.call(vec![col("t.id")]))?.build()?;
    let pushed = push_down(plan)?;
    let state = SessionContext::new().state();
    let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(FencePlanner)]);
    let exec = planner.create_physical_plan(&pushed, &state).await?;
    let shown = displayable(exec.as_ref()).indent(true).to_string();
    let kinds: Vec<&str> = shown.lines().map(|line| line.trim().split([':', ',']).next().unwrap_or_default()).collect();
    let fence = kinds.iter().position(|kind| *kind == "FenceExec").ok_or_else(|| shown.clone())?;
    assert_eq!(kinds.iter().position(|kind| *kind == "FilterExec"), Some(fence - 1), "{shown}");
    assert!(kinds[fence + 1..].contains(&"FilterExec"), "{shown}");
    Ok(())
}

#[test]
fn a_build_groups_rows_of_mysql_here() -> Result<(), Box<dyn Error>> {
    let sent = |dialect: Dialect, keys: Vec<Expr>, builds: bool| -> Result<Vec<String>, Box<dyn Error>> {
        let counted = vec![count(col("t.id"))];
        let plan = scan(dialect, "t")?.project([col("t.id"), col("t.n")])?.aggregate(keys, counted)?.build()?;
        let pushed = if builds { push_down_to_build(plan.clone())? } else { push_down(plan.clone())? };
        assert!(plan.schema().iter().eq(pushed.schema().iter()));
        Ok(remote_statements(&pushed)?.into_iter().map(|(_, statement)| statement.sql).collect())
    };
    let rows = "SELECT t.id AS c0, t.n AS c1 FROM things AS t";
    assert_eq!(sent(Dialect::MySql, vec![col("t.n")], true)?, [rows]);
    for (dialect, keys, builds) in [
        (Dialect::MySql, vec![col("t.n")], false),
        // One group is no table.
        (Dialect::MySql, vec![], true),
        (Dialect::Postgres, vec![col("t.n")], true),
    ] {
        let has_keys = !keys.is_empty();
        let sent = sent(dialect, keys, builds)?;
        assert!(sent.len() == 1 && sent[0].to_uppercase().contains("COUNT("), "{sent:?}");
        assert_eq!(sent[0].contains("GROUP BY"), has_keys, "{sent:?}");
    }
    Ok(())
}
