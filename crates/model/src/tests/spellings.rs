//! One model, three spellings: snake_case, camelCase, and the old names (conformance row 1).

use super::model;
use crate::{MemberRef, Model, Place, PreAggregationKind, Relationship, SqlTemplate, TemplatePart};

const SNAKE: &str = r#"
cubes:
  - name: orders
    sql_table: shop.orders
    sql_alias: o
    data_source: shop
    public: false
    meta: {ownerTeam: sales, some_key: 1}
    refresh_key:
      every: 1 hour
    joins:
      - name: customers
        relationship: many_to_one
        sql: "{CUBE}.customer_id = {customers.id}"
      - name: items
        relationship: one_to_many
        sql: "{CUBE.id} = {items.order_id}"
      - name: invoices
        relationship: one_to_one
        sql: "{CUBE.id} = {invoices.order_id}"
    dimensions:
      - name: id
        sql: id
        type: number
        primary_key: true
        public: true
      - name: createdAt
        sql: created_at
        type: time
        granularities:
          - name: fiscalYear
            interval: 1 year
            offset: 3 months
      - name: lines
        sql: "{items.count}"
        type: number
        sub_query: true
        propagate_filters_to_sub_query: true
      - name: status
        sql: status
        type: string
    measures:
      - name: count
        type: count
        drill_members: [id, status]
      - name: buyers
        sql: customer_id
        type: count_distinct
      - name: buyers_approx
        sql: customer_id
        type: count_distinct_approx
      - name: running
        sql: amount
        type: sum
        rolling_window:
          type: to_date
          granularity: year
    segments:
      - name: paid
        sql: "{CUBE}.status = 'paid'"
    pre_aggregations:
      - name: original
        type: original_sql
      - name: daily
        type: rollup
        measures: [CUBE.count]
        dimensions: [CUBE.status]
        segments: [CUBE.paid]
        time_dimension: CUBE.createdAt
        granularity: day
        partition_granularity: month
        build_range_start: {sql: SELECT min(created_at) FROM orders}
        build_range_end: {sql: SELECT max(created_at) FROM orders}
        external: false
        scheduled_refresh: true
        use_original_sql_pre_aggregations: true
        unique_key_columns: [status]
        read_only: true
        stream_offset: earliest
        sql_alias: d
        refresh_key: {every: 1 day, incremental: true, update_window: 7 days}
        indexes:
          - name: by_status
            columns: [CUBE.status]
      - name: joined
        type: rollup_join
        dimensions: [CUBE.status, items.order_id]
        rollups: [CUBE.daily, items.all]
      - name: fresh
        type: rollup_lambda
        rollups: [CUBE.daily]
        union_with_source_data: true

  - name: customers
    sql_table: shop.customers
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}

  - name: items
    sql_table: shop.items
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: order_id, sql: order_id, type: number}
    measures:
      - {name: count, type: count}
    pre_aggregations:
      - name: all
        dimensions: [order_id]

  - name: invoices
    sql_table: shop.invoices
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: order_id, sql: order_id, type: number}

views:
  - name: sales
    cubes:
      - join_path: orders
        includes: '*'
        excludes: [lines]
"#;

/// A model printed without its places.
fn printed(model: &Model) -> String {
    let text = format!("{model:#?}");
    let mut lines = Vec::new();
    let mut skip_to: Option<String> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match &skip_to {
            Some(end) if *end == line[..indent].to_owned() + line.trim() => skip_to = None,
            Some(_) => {}
            None if line.trim().starts_with("place: Place {") => skip_to = Some(format!("{}}},", &line[..indent])),
            None => lines.push(line),
        }
    }
    lines.join("\n")
}

fn renamed(pairs: &[(&str, &str)]) -> String {
    let mut text = SNAKE.to_owned();
    for (from, to) in pairs {
        assert!(text.contains(from), "{from} is not in the model");
        text = text.replace(from, to);
    }
    text
}

#[test]
fn camel_case_keys_and_values_load_to_the_same_model() {
    let camel = renamed(&[
        ("sql_table:", "sqlTable:"),
        ("sql_alias:", "sqlAlias:"),
        ("data_source:", "dataSource:"),
        ("refresh_key:", "refreshKey:"),
        ("many_to_one", "manyToOne"),
        ("one_to_many", "oneToMany"),
        ("one_to_one", "oneToOne"),
        ("primary_key:", "primaryKey:"),
        ("propagate_filters_to_sub_query:", "propagateFiltersToSubQuery:"),
        ("sub_query:", "subQuery:"),
        ("drill_members:", "drillMembers:"),
        ("count_distinct_approx", "countDistinctApprox"),
        ("count_distinct", "countDistinct"),
        ("rolling_window:", "rollingWindow:"),
        ("to_date", "toDate"),
        ("pre_aggregations:", "preAggregations:"),
        ("use_original_sql_preAggregations:", "useOriginalSqlPreAggregations:"),
        ("time_dimension:", "timeDimension:"),
        ("partition_granularity:", "partitionGranularity:"),
        ("build_range_start:", "buildRangeStart:"),
        ("build_range_end:", "buildRangeEnd:"),
        ("scheduled_refresh:", "scheduledRefresh:"),
        ("unique_key_columns:", "uniqueKeyColumns:"),
        ("read_only:", "readOnly:"),
        ("stream_offset:", "streamOffset:"),
        ("update_window:", "updateWindow:"),
        ("original_sql", "originalSql"),
        ("rollup_join", "rollupJoin"),
        ("rollup_lambda", "rollupLambda"),
        ("union_with_source_data:", "unionWithSourceData:"),
        ("join_path:", "joinPath:"),
    ]);
    assert_eq!(printed(&model(&camel)), printed(&model(SNAKE)));
}

#[test]
fn old_names_load_to_the_same_model() {
    let old = renamed(&[
        ("public: false", "shown: false"),
        ("public: true", "visible: true"),
        ("relationship: many_to_one", "relationship: belongsTo"),
        ("relationship: one_to_many", "relationship: hasMany"),
        ("relationship: one_to_one", "relationship: has_one"),
        ("drill_members:", "drillMemberReferences:"),
        ("measures: [CUBE.count]", "measureReferences: [CUBE.count]"),
        ("dimensions: [CUBE", "dimensionReferences: [CUBE"),
        ("segments: [CUBE.paid]", "segmentReferences: [CUBE.paid]"),
        ("time_dimension:", "timeDimensionReference:"),
        ("rollups: [CUBE", "rollupReferences: [CUBE"),
        ("build_range_start:", "refreshRangeStart:"),
        ("build_range_end:", "refreshRangeEnd:"),
        ("external: false", "internal: true"),
        (
            "indexes:\n          - name: by_status\n            columns:",
            "indexes:\n          by_status:\n            columns:",
        ),
        ("type: to_date\n          granularity: year", "type: year_to_date"),
    ]);
    assert_eq!(printed(&model(&old)), printed(&model(SNAKE)));
}

#[test]
fn old_and_javascript_names_of_the_own_cube_mean_the_same() {
    let old =
        renamed(&[("{CUBE}", "${TABLE}"), ("{CUBE.id}", "${CUBE.id}"), ("{customers.id}", "${ customers . id }")]);
    let (old, new) = (model(&old), model(SNAKE));
    for (old, new) in old.cubes["orders"].joins.iter().zip(&new.cubes["orders"].joins) {
        assert_eq!(without_places(&old.sql), without_places(&new.sql));
    }
}

fn without_places(sql: &SqlTemplate) -> Vec<TemplatePart> {
    let nowhere = Place { file: "".into(), line: 1, column: 1, length: 1 };
    let part = |part: &TemplatePart| match part {
        TemplatePart::Member(member) => TemplatePart::Member(MemberRef { place: nowhere.clone(), ..member.clone() }),
        other => other.clone(),
    };
    sql.parts.iter().map(part).collect()
}

#[test]
fn what_the_spellings_mean_is_what_was_said() {
    let model = model(SNAKE);
    let orders = &model.cubes["orders"];
    let relationships: Vec<Relationship> = orders.joins.iter().map(|join| join.relationship).collect();
    assert_eq!(relationships, [Relationship::ManyToOne, Relationship::OneToMany, Relationship::OneToOne]);
    assert_eq!(orders.naming.meta, serde_json::json!({"ownerTeam": "sales", "some_key": 1}), "meta is left alone");
    assert!(orders.dimensions["createdAt"].granularities.contains_key("fiscalYear"), "users' names are left alone");
    assert!(orders.dimensions["id"].naming.public);
    let kinds: Vec<PreAggregationKind> = orders.pre_aggregations.values().map(|rollup| rollup.kind).collect();
    use PreAggregationKind::{OriginalSql, Rollup, RollupJoin, RollupLambda};
    assert_eq!(kinds, [OriginalSql, Rollup, RollupJoin, RollupLambda]);
    let daily = &orders.pre_aggregations["daily"];
    assert_eq!(daily.external, Some(false));
    assert_eq!(daily.time_dimensions[0].granularity.as_deref(), Some("day"));
    assert_eq!(daily.refresh_key.as_ref().map(|key| key.incremental), Some(true));
}
