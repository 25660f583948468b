//! Models that users write, and what must come out.

use super::model;
use crate::{MeasureKind, MemberKind, Relationship, TemplatePart, ViewMemberValue};

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
