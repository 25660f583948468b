//! Models that users write, and what must come out.

use super::model;
use crate::{MeasureKind, MemberKind, PreAggregationKind, Relationship, TemplatePart, ViewMemberValue};

/// Seed 001: the joins page's example.
const CUSTOMERS: &str = r#"
cubes:
  - name: orders
    sql_table: orders

    dimensions:
      - name: id
        sql: id
        type: number
        primary_key: true
      - name: city
        sql: city
        type: string

    joins:
      - name: customers
        relationship: many_to_one
        sql: "{orders}.customer_id = {customers.id}"

  - name: customers
    sql_table: customers

    dimensions:
      - name: id
        sql: id
        type: number
        primary_key: true

    measures:
      - name: average_age
        sql: age
        type: avg
"#;

/// Seed 003: two facts and two shared dimension tables.
pub(super) const TWO_FACTS: &str = r#"
cubes:
  - name: customers
    sql_table: customers
    dimensions:
      - name: id
        type: number
        sql: id
        primary_key: true
      - name: name
        type: string
        sql: name
      - name: city
        type: string
        sql: city

  - name: dates
    sql_table: dates
    dimensions:
      - name: date
        type: time
        sql: date
        primary_key: true

  - name: orders
    sql_table: orders
    joins:
      - name: customers
        relationship: many_to_one
        sql: "{orders}.customer_id = {customers.id}"
      - name: dates
        relationship: many_to_one
        sql: "DATE_TRUNC('day', {orders}.created_at) = {dates.date}"
    dimensions:
      - name: id
        type: number
        sql: id
        primary_key: true
      - name: customer_id
        type: number
        sql: customer_id
      - name: status
        type: string
        sql: status
    measures:
      - name: count
        type: count
      - name: total_amount
        type: sum
        sql: amount

  - name: returns
    sql_table: returns
    joins:
      - name: customers
        relationship: many_to_one
        sql: "{returns}.customer_id = {customers.id}"
      - name: dates
        relationship: many_to_one
        sql: "DATE_TRUNC('day', {returns}.created_at) = {dates.date}"
    dimensions:
      - name: id
        type: number
        sql: id
        primary_key: true
      - name: customer_id
        type: number
        sql: customer_id
    measures:
      - name: count
        type: count
      - name: total_refund
        type: sum
        sql: refund_amount

  - name: refunds
    sql: >
      SELECT *, NULL AS customer_id FROM refunds
    joins:
      - name: customers
        relationship: many_to_one
        sql: "{refunds}.customer_id = {customers.id}"
      - name: dates
        relationship: many_to_one
        sql: "DATE_TRUNC('day', {refunds}.created_at) = {dates.date}"
    dimensions:
      - name: id
        type: number
        sql: id
        primary_key: true
    measures:
      - name: count
        type: count
      - name: total_amount
        type: sum
        sql: amount

views:
  - name: customer_overview
    cubes:
      - join_path: orders
        includes:
          - count
          - total_amount
        prefix: true
      - join_path: customers
        includes:
          - name
          - city
      - join_path: dates
        includes:
          - date
      - join_path: returns
        includes:
          - count
          - total_refund
        prefix: true
"#;

#[test]
fn the_joins_page_loads_as_it_says() {
    let model = model(CUSTOMERS);
    let orders = &model.cubes["orders"];
    let id = &orders.dimensions["id"];
    assert!(id.primary_key);
    assert!(!id.naming.public, "a key dimension is private unless it says otherwise");
    let join = &orders.joins[0];
    assert_eq!((join.target.as_str(), join.relationship), ("customers", Relationship::ManyToOne));
    let [this, text, TemplatePart::Member(member)] = join.sql.parts.as_slice() else {
        panic!("three parts expected, got {:?}", join.sql.parts);
    };
    assert_eq!(this, &TemplatePart::ThisCube);
    assert_eq!(text, &TemplatePart::Text(".customer_id = ".to_owned()));
    assert_eq!((member.path.as_slice(), member.member.as_str()), (["customers".to_owned()].as_slice(), "id"));
    // `        sql: "{orders}.customer_id = {customers.id}"`
    assert_eq!((member.place.line, member.place.column, member.place.length), (18, 38, 14));
    assert_eq!(model.cubes["customers"].measures["average_age"].kind, MeasureKind::Avg);
}

#[test]
fn a_view_over_two_facts_has_dimensions_before_measures_under_their_prefixes() {
    let model = model(TWO_FACTS);
    let view = &model.views["customer_overview"];
    let members: Vec<(&str, MemberKind)> =
        view.members.iter().map(|(name, member)| (name.as_str(), member.kind)).collect();
    assert_eq!(
        members,
        [
            ("name", MemberKind::Dimension),
            ("city", MemberKind::Dimension),
            ("date", MemberKind::Dimension),
            ("orders_count", MemberKind::Measure),
            ("orders_total_amount", MemberKind::Measure),
            ("returns_count", MemberKind::Measure),
            ("returns_total_refund", MemberKind::Measure),
        ]
    );
    assert_eq!(view.join_paths, [["orders"], ["customers"], ["dates"], ["returns"]]);
    assert_eq!(
        view.members["returns_count"].value,
        ViewMemberValue::Included { path: vec!["returns".to_owned()], member: "count".to_owned() }
    );
}

/// A model with every section and most keys.
pub(super) const EVERYTHING: &str = r#"
cubes:
  - name: base
    sql_table: shop.events
    public: false
    dimensions:
      - name: id
        sql: "{CUBE}.id"
        type: number
        primary_key: true
      - name: kind
        sql: "{CUBE}.kind"
        type: string
        mask: "hidden"
        links:
          - {name: page, label: Page, url: "https://example.org", icon: link, target: self, primary: true, params: [{key: a, value: b}]}
    measures:
      - name: count
        type: count
    segments:
      - name: clicks
        sql: "{CUBE}.kind = 'click'"

  - name: orders
    extends: base
    sql: |
      SELECT *
      FROM shop.orders
      WHERE {FILTER_PARAMS.orders.created_at.filter(lambda x, y: f"{x} <= created_at AND created_at < {y}")}
        AND tags = '\{\}'
    title: Orders
    description: All of them
    meta: {aiContext: "text with {braces}"}
    refresh_key: {sql: "SELECT max(id) FROM shop.orders", every: 10 minute}
    joins:
      - name: customers
        relationship: many_to_one
        sql: "{CUBE}.customer_id = {customers.id}"
    dimensions:
      - name: status
        type: string
        case:
          when:
            - {sql: "{CUBE}.status = 1", label: open}
            - {sql: "{CUBE}.status = 2", label: {sql: "upper({kind})"}}
          else: {label: other}
      - name: place
        type: geo
        latitude: {sql: "{CUBE}.lat"}
        longitude: {sql: "{CUBE}.lon"}
      - name: created_at
        sql: created_at
        type: time
        granularities:
          - {name: fortnight, interval: 2 weeks, origin: "2024-01-01"}
          - {name: fiscal_year, interval: 1 year, offset: -3 months, title: Year}
      - name: created_fortnight
        sql: "{created_at.fortnight}"
        type: time
      - name: currency
        type: switch
        values: [EUR, USD]
      - name: customer_total
        sql: "{customers.credit_total}"
        type: number
        sub_query: true
      - name: price
        sql: price
        type: number
        format: currency
        currency: eur
        order: desc
        key: id
    measures:
      - name: total
        sql: "{price}"
        type: sum
        filters:
          - sql: "{CUBE}.status = 1"
          - sql: "{customers.city} = 'Oslo'"
      - name: average
        sql: "{total} / NULLIF({count}, 0)"
        type: number
        format: percent_2
      - name: last_week
        sql: price
        type: sum
        rolling_window: {trailing: 7 day, offset: start}
      - name: share
        multi_stage: true
        sql: "{total}"
        type: number
        group_by: [status]
        time_shift:
          - {time_dimension: created_at, interval: 1 year, type: prior}
        filter: {mode: fixed, include: [{member: status, operator: equals, values: [open]}]}
      - name: place_in_list
        multi_stage: true
        type: rank
        order_by: [{sql: "{total}", dir: desc}]
        reduce_by: [status]
      - name: in_currency
        multi_stage: true
        type: number
        case:
          switch: "{currency}"
          when: [{value: EUR, sql: "{total}"}]
          else: {sql: "{total} * 2"}
    hierarchies:
      - name: by_status
        levels: [kind, status]
    pre_aggregations:
      - name: daily
        measures: [count, total]
        dimensions: [status, customers.city]
        time_dimensions:
          - {dimension: created_at, granularity: day}
        partition_granularity: month
        refresh_key: {every: "0 5 * * *", timezone: Europe/Oslo}

  - name: customers
    sql_table: shop.customers
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: city, sql: city, type: string}
    measures:
      - {name: credit_total, sql: credit, type: sum}
    access_policy:
      - group: sales
        conditions: [{if: "{ security_context.ok }"}]
        member_level: {includes: '*', excludes: [id]}
        row_level:
          filters:
            - {member: city, operator: equals, values: ["{ security_context.city }"]}
            - or:
                - {member: id, operator: notSet}
                - {member: city, operator: startsWith, values: O}

views:
  - name: sales
    description: Sold
    cubes:
      - join_path: orders
        includes:
          - count
          - name: total
            alias: revenue
            title: Revenue
            meta: {a: 1}
          - by_status
          - status
        excludes: [kind]
      - join_path: orders.customers
        prefix: true
        alias: buyer
        includes: '*'
    measures:
      - name: per_order
        sql: "{revenue} / NULLIF({count}, 0)"
        type: number
      - name: per_order_in_cents
        sql: "{per_order} * 100"
        type: number
    folders:
      - name: Numbers
        includes: [count, revenue, {name: Inner, includes: [status]}, {join_path: orders.customers}]
    default_filters:
      - {member: status, operator: equals, values: [open], unless: [status]}

  - name: sales_too
    extends: sales
    title: Also sold

view_groups:
  - name: all
    title: All
    includes: [sales, {name: inner, includes: [sales_too]}]
"#;

/// Seed 000: two sources joined by a `rollupJoin`, in its old spelling.
const TWO_SOURCES: &str = r#"
cubes:
  - name: Suppliers
    sql: SELECT * FROM suppliers
    dataSource: suppliers
    dimensions:
      - {name: id, sql: "${CUBE}.id", type: number, primaryKey: true}
      - {name: company, sql: "${CUBE}.company", type: string}
      - {name: email, sql: "${CUBE}.email", type: string}
    preAggregations:
      - name: suppliersRollup
        type: rollup
        external: true
        dimensions: [CUBE.id, CUBE.company, CUBE.email]
        indexes:
          categoryIndex: {columns: [CUBE.id]}

  - name: Products
    sql: SELECT * FROM products
    dataSource: products
    joins:
      - {name: Suppliers, relationship: belongsTo, sql: "${CUBE.supplierId} = ${Suppliers.id}"}
    dimensions:
      - {name: id, sql: "${CUBE}.id", type: number, primaryKey: true}
      - {name: name, sql: "${CUBE}.name", type: string}
      - {name: supplierId, sql: "${CUBE}.supplier_id", type: number}
    preAggregations:
      - name: productsRollup
        type: rollup
        external: true
        dimensions: [CUBE.name, CUBE.supplierId]
        indexes:
          categoryIndex: {columns: [CUBE.supplierId]}
      - name: combinedRollup
        type: rollupJoin
        dimensions: [Suppliers.email, Suppliers.company, CUBE.name]
        rollups: [Suppliers.suppliersRollup, CUBE.productsRollup]
        external: true
"#;

#[test]
fn the_recipe_of_two_sources_loads_as_it_says() {
    let model = model(TWO_SOURCES);
    let products = &model.cubes["Products"];
    assert_eq!(
        (products.data_source.as_str(), model.cubes["Suppliers"].data_source.as_str()),
        ("products", "suppliers")
    );
    let combined = &products.pre_aggregations["combinedRollup"];
    assert_eq!(combined.kind, PreAggregationKind::RollupJoin);
    let rollups: Vec<String> =
        combined.rollups.iter().map(|rollup| format!("{}.{}", rollup.cube, rollup.name)).collect();
    assert_eq!(rollups, ["Suppliers.suppliersRollup", "Products.productsRollup"]);
    let dimensions: Vec<String> =
        combined.dimensions.iter().map(|member| format!("{}.{}", member.cube(), member.member)).collect();
    assert_eq!(dimensions, ["Suppliers.email", "Suppliers.company", "Products.name"]);
}

/// The cubes of the worked check on repeated rows: customers, their orders, the orders' items.
const CHAIN: &str = r#"
cubes:
  - name: customers
    sql_table: customers
    joins:
      - {name: orders, relationship: one_to_many, sql: "{CUBE.id} = {orders.customer_id}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: city, sql: city, type: string}
    measures:
      - {name: credit, sql: credit, type: sum}

  - name: orders
    sql_table: orders
    joins:
      - {name: items, relationship: one_to_many, sql: "{CUBE.id} = {items.order_id}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: customer_id, sql: customer_id, type: number}
    measures:
      - {name: count, type: count}
      - {name: total, sql: amount, type: sum}
      - {name: average, sql: amount, type: avg}
      - {name: ratio, sql: "{total} / NULLIF({items.qty}, 0)", type: number}
      - {name: raw, sql: "sum({CUBE}.amount) / {count}", type: number}

  - name: items
    sql_table: items
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: order_id, sql: order_id, type: number}
      - {name: category, sql: category, type: string}
    measures:
      - {name: qty, sql: qty, type: sum}
"#;

#[test]
fn calculated_measures_keep_members_and_raw_columns_side_by_side() {
    let model = model(CHAIN);
    let parts = |measure: &str| model.cubes["orders"].measures[measure].sql.as_ref().map(|sql| sql.parts.clone());
    let Some(parts) = parts("raw") else { panic!("the measure has SQL") };
    assert_eq!(parts.len(), 4);
    assert_eq!(
        parts[..3],
        [TemplatePart::Text("sum(".to_owned()), TemplatePart::ThisCube, TemplatePart::Text(".amount) / ".to_owned()),]
    );
    assert!(matches!(&parts[3], TemplatePart::Member(member) if member.cube() == "orders" && member.member == "count"));
}

#[test]
fn the_model_with_everything_loads() {
    let model = model(EVERYTHING);
    assert_eq!(model.cubes.keys().collect::<Vec<_>>(), ["base", "orders", "customers"]);
    assert_eq!(model.views.keys().collect::<Vec<_>>(), ["sales", "sales_too"]);
}
