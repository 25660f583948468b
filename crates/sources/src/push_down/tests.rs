//! Golden scripts: SQL over fake sources, planned and optimized by DataFusion, then pushed down; whole texts and parameters.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{LogicalPlan, Volatility, create_udf};
use datafusion::physical_plan::ColumnarValue;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::executor::block_on;

use super::{push_down, remote_statements};
use crate::{BaseColumn, Dialect, RemoteSource, RemoteTable, SourceColumn, SourceError, Statement};

#[derive(Debug)]
struct Fake {
    name: &'static str,
    dialect: Dialect,
}

#[async_trait]
impl RemoteSource for Fake {
    fn name(&self) -> &str {
        self.name
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    async fn describe(&self, _: &str) -> Result<Vec<SourceColumn>, SourceError> {
        Err(SourceError::TimedOut { source_name: self.name.to_owned(), seconds: 0 })
    }

    fn read(self: Arc<Self>, _: Statement, schema: SchemaRef) -> SendableRecordBatchStream {
        Box::pin(datafusion::physical_plan::EmptyRecordBatchStream::new(schema))
    }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// `orders` (in `shop`) with a column of every type; `nn` columns are not nullable.
fn columns(alias: &str) -> Vec<BaseColumn> {
    let uuid = [(belvedere_functions::PG_TYPE.to_owned(), "uuid".to_owned())].into();
    let fields = [
        Field::new("id", DataType::Int64, false),
        Field::new("customer_id", DataType::Int64, true),
        Field::new("status", DataType::Utf8, true),
        Field::new("code", DataType::Utf8, false),
        Field::new("amount", DataType::Decimal128(12, 2), true),
        Field::new("quantity", DataType::Int32, true),
        Field::new("weight", DataType::Float64, true),
        Field::new("ratio", DataType::Float32, true),
        Field::new("paid", DataType::Boolean, true),
        Field::new("day", DataType::Date32, true),
        Field::new("created_at", timestamp(), true),
        Field::new("seen_at", timestamptz(), true),
        Field::new("token", DataType::Utf8, true).with_metadata(uuid),
    ];
    fields
        .into_iter()
        .map(|field| BaseColumn {
            sql: format!("{alias}.{}", field.name()),
            compares_by_code_point: field.name() != "status",
            field,
        })
        .collect()
}

/// `pg`, `pg2` and `my`, each with `<source>_orders` and `<source>_customers`.
fn context() -> Result<SessionContext, DataFusionError> {
    let config = SessionConfig::new()
        .with_target_partitions(2)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
        .set_bool("datafusion.sql_parser.parse_float_as_decimal", true);
    let context = SessionContext::new_with_config(config);
    // The pipeline keeps this rule for after push-down.
    context.remove_optimizer_rule("single_distinct_aggregation_to_group_by");
    for (name, dialect) in [("pg", Dialect::Postgres), ("pg2", Dialect::Postgres), ("my", Dialect::MySql)] {
        let source: Arc<dyn RemoteSource> = Arc::new(Fake { name, dialect });
        let mut orders = columns("orders");
        if dialect == Dialect::Postgres {
            // There `COLLATE "C"` is ours to add; see `RemoteSource`.
            orders.iter_mut().for_each(|column| column.compares_by_code_point = true);
        }
        let orders = RemoteTable::base(Arc::clone(&source), "shop.orders".to_owned(), orders, "orders".to_owned());
        context.register_table(format!("{name}_orders"), Arc::new(orders))?;
        let customers = [
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("city", DataType::Utf8, true),
        ];
        let customers = customers
            .into_iter()
            .map(|field| BaseColumn {
                sql: format!("c.{}", field.name()),
                compares_by_code_point: dialect == Dialect::Postgres || field.name() == "id",
                field,
            })
            .collect();
        let relation = "(SELECT id, name, city FROM shop.customers WHERE active)".to_owned();
        let customers = RemoteTable::base(source, relation, customers, "c".to_owned());
        context.register_table(format!("{name}_customers"), Arc::new(customers))?;
    }
    use DataType::{Boolean, Decimal128, Float64, Int32, Int64, Utf8};
    for (name, arguments, result) in [
        ("pg_add", vec![Int64, Int64], Int64),
        ("pg_mul", vec![Decimal128(12, 2), Decimal128(12, 2)], Decimal128(24, 4)),
        ("pg_sub", vec![Int32, Int32], Int32),
        ("pg_div", vec![Float64, Float64], Float64),
        ("pg_neg", vec![Int64], Int64),
        ("pg_concat", vec![Utf8, Utf8], Utf8),
        ("pg_like", vec![Utf8, Utf8], Boolean),
        ("pg_ilike", vec![Utf8, Utf8], Boolean),
        ("pg_cast", vec![Decimal128(12, 2)], Decimal128(10, 1)),
        ("to_local", vec![timestamptz(), Utf8], timestamp()),
        ("belvedere_unknown", vec![Int64], Int64),
    ] {
        let never = Arc::new(|_: &[ColumnarValue]| -> Result<ColumnarValue, DataFusionError> {
            Err(DataFusionError::Internal("planned only".to_owned()))
        });
        context.register_udf(create_udf(name, arguments, result, Volatility::Immutable, never));
    }
    Ok(context)
}

/// The plan with what is left here, then each statement with its parameters.
fn shown(plan: &LogicalPlan) -> Result<String, DataFusionError> {
    let mut text = String::new();
    for line in plan.display_indent().to_string().lines() {
        let _ = writeln!(text, "{}", line.replace('\0', "<NUL>"));
    }
    for (source, statement) in remote_statements(plan)? {
        let _ = writeln!(text, "{source}: {}", statement.sql);
        for (index, value) in statement.parameters.iter().enumerate() {
            let _ = writeln!(text, "    {}: {value:?}", index + 1);
        }
    }
    Ok(text)
}

struct Scripts {
    context: SessionContext,
}

impl goldenscript::Runner for Scripts {
    fn run(&mut self, command: &goldenscript::Command) -> Result<String, Box<dyn Error>> {
        let mut arguments = command.consume_args();
        let sql = arguments.next_pos().ok_or("a statement is missing")?.value.clone();
        arguments.reject_rest()?;
        // `sql "… {o} … {c} …"` runs once for each source that the command names.
        let sources: &[&str] = match command.name.as_str() {
            "both" => &["pg", "my"],
            "pg" => &["pg"],
            "my" => &["my"],
            other => return Err(format!("unknown command {other}").into()),
        };
        let mut text = String::new();
        for source in sources {
            let sql = sql.replace("{o}", &format!("{source}_orders")).replace("{c}", &format!("{source}_customers"));
            let planned = block_on(self.context.sql(&sql))?.into_optimized_plan()?;
            let pushed = push_down(planned.clone())?;
            if planned.schema().iter().ne(pushed.schema().iter()) {
                return Err(format!("schema {:?} became {:?}", planned.schema(), pushed.schema()).into());
            }
            text.push_str(&shown(&pushed)?);
        }
        Ok(text)
    }
}

fn run(script: &str) -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts/push_down").join(script);
    goldenscript::run(&mut Scripts { context: context()? }, path)?;
    Ok(())
}

#[test]
fn a_projection_asks_only_for_the_columns_in_use() -> Result<(), Box<dyn Error>> {
    run("projection")
}

#[test]
fn filters_go_down_where_the_source_means_the_same() -> Result<(), Box<dyn Error>> {
    run("filter")
}

#[test]
fn joins_inside_one_source_are_joined_there() -> Result<(), Box<dyn Error>> {
    run("join")
}

#[test]
fn groups_are_made_at_the_source() -> Result<(), Box<dyn Error>> {
    run("aggregate")
}

#[test]
fn a_side_of_a_join_across_sources_goes_down_as_groups() -> Result<(), Box<dyn Error>> {
    run("group_early")
}

#[test]
fn order_and_limit_go_down_with_their_null_order() -> Result<(), Box<dyn Error>> {
    run("sort")
}

#[test]
fn what_a_source_means_differently_stays_here() -> Result<(), Box<dyn Error>> {
    run("silent")
}
