//! What the language means where it is easy to get wrong: references, inheritance, views, and what is not executed yet.

use super::good_models::EVERYTHING;
use super::model;
use crate::{
    Dimension, DimensionValue, GranularityValue, Interval, Model, ModelFile, Relation, SqlTemplate, TemplatePart,
    Unsupported, View, ViewMemberValue, load,
};

/// A template as text in which every reference is bracketed by what it became.
fn shown(sql: &SqlTemplate) -> String {
    let part = |part: &TemplatePart| match part {
        TemplatePart::Text(text) => text.clone(),
        TemplatePart::ThisCube => "<this>".to_owned(),
        TemplatePart::Cube(cube) => format!("<cube {cube}>"),
        TemplatePart::CubeSql(cube) => format!("<sql of {cube}>"),
        TemplatePart::Context(text) => format!("<context {text}>"),
        TemplatePart::Parameter(parameter) => format!("<{parameter:?}>"),
        TemplatePart::Member(member) => {
            let granularity = member.granularity.as_ref().map(|name| format!(" by {name}")).unwrap_or_default();
            format!("<{}.{}{granularity}>", member.path.join("/"), member.member)
        }
    };
    sql.parts.iter().map(part).collect()
}

fn dimension_sql(dimension: &Dimension) -> String {
    match &dimension.value {
        DimensionValue::Sql(sql) => shown(sql),
        other => format!("{other:?}"),
    }
}

fn feature(unsupported: &Option<Unsupported>) -> &str {
    unsupported.as_ref().map_or("", |found| found.feature.as_str())
}

const REFERENCES: &str = r#"
cubes:
  - name: orders
    sql_table: orders
    joins:
      - {name: customers, relationship: many_to_one, sql: "{CUBE}.customer_id = {customers}.id"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: status, sql: "{CUBE}.status", type: string}
      - {name: created_at, sql: "{TABLE}.created_at", type: time, granularities: [{name: five, interval: 5 days, origin: "2024-01-01"}]}
      - {name: own_name, sql: "{orders}.x || {orders.status}", type: string}
      - {name: own_member, sql: "{status} || {CUBE.status} || ${status} || ${CUBE.status}", type: string}
      - {name: other_member, sql: "{customers.name}", type: string}
      - {name: path, sql: "{orders.customers.regions.name} {CUBE.customers.name} {customers.regions.name}", type: string}
      - {name: months, sql: "{created_at.month} {CUBE.created_at.five} {customers.born.year}", type: time}
      - {name: escaped, sql: '''\{a,b\}''::text[] || ''{status}''', type: string}
      - name: folded
        sql: >
          coalesce(
            {status},
            {customers.name}
          )
        type: string
  - name: customers
    sql_table: customers
    joins:
      - {name: regions, relationship: many_to_one, sql: "{CUBE}.region_id = {regions.id}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: name, sql: name, type: string}
      - {name: born, sql: born, type: time}
  - name: regions
    sql_table: regions
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: name, sql: name, type: string}
  - name: unions
    sql: "SELECT * FROM {orders.sql()} UNION ALL SELECT * FROM { customers . sql ( ) }"
    dimensions:
      - {name: param, sql: "{COMPILE_CONTEXT.x}", type: string}
      - {name: asked, sql: "{FILTER_PARAMS.unions.param.filter(lambda x: f'{x} = 1')}", type: string}
      - {name: encoded, sql: "{SQL_UTILS.urlEncode('x')}", type: string}
      - {name: raw, sql: "{SECURITY_CONTEXT.x.unsafeValue()}", type: string}
      - {name: uses_param, sql: "upper({param})", type: string}
      - {name: uses_user, sql: "{uses_param}", type: string}
      - {name: converted, sql: "{ SQL_UTILS.convertTz('x') }", type: time}
"#;

#[test]
fn references_become_what_rules_r1_to_r8_say() {
    let model = model(REFERENCES);
    let orders = &model.cubes["orders"].dimensions;
    let sql = |name: &str| dimension_sql(&orders[name]);
    assert_eq!(sql("status"), "<this>.status");
    assert_eq!(sql("created_at"), "<this>.created_at");
    assert_eq!(sql("own_name"), "<this>.x || <orders.status>");
    assert_eq!(sql("own_member"), "<orders.status> || <orders.status> || <orders.status> || <orders.status>");
    assert_eq!(sql("other_member"), "<customers.name>");
    assert_eq!(sql("path"), "<orders/customers/regions.name> <orders/customers.name> <customers/regions.name>");
    assert_eq!(sql("months"), "<orders.created_at by month> <orders.created_at by five> <customers.born by year>");
    assert_eq!(sql("escaped"), "'{a,b}'::text[] || '<orders.status>'");
    assert_eq!(sql("folded"), "coalesce(\n  <orders.status>,\n  <customers.name>\n)\n");
    assert_eq!(shown(&model.cubes["orders"].joins[0].sql), "<this>.customer_id = <cube customers>.id");
    let Relation::Query(unions) = &model.cubes["unions"].relation else { panic!("`sql` makes a query") };
    assert_eq!(shown(unions), "SELECT * FROM <sql of orders> UNION ALL SELECT * FROM <sql of customers>");
}

#[test]
fn places_inside_folded_text_are_those_of_the_file() {
    let model = model(REFERENCES);
    let DimensionValue::Sql(sql) = &model.cubes["orders"].dimensions["folded"].value else { panic!("it has SQL") };
    let places: Vec<(u32, u32, u32)> = crate::walk::member_refs(sql)
        .map(|member| (member.place.line, member.place.column, member.place.length))
        .collect();
    let line = |text: &str| {
        let mut lines = REFERENCES.lines().enumerate().filter(|(_, line)| line.trim() == text);
        u32::try_from(lines.next().expect("the line is there").0 + 1).expect("a small number")
    };
    assert_eq!(places, [(line("{status},"), 13, 8), (line("{customers.name}"), 13, 16)]);
}

#[test]
fn a_context_variable_is_carried_to_all_who_use_it() {
    let model = model(REFERENCES);
    let unions = &model.cubes["unions"];
    for name in ["param", "uses_param", "uses_user"] {
        assert_eq!(feature(&unions.dimensions[name].unsupported), "COMPILE_CONTEXT", "{name}");
    }
    assert_eq!(feature(&unions.dimensions["encoded"].unsupported), "SQL_UTILS.urlEncode");
    assert!(feature(&unions.dimensions["raw"].unsupported).contains("SQL injection"));
    for name in ["asked", "converted"] {
        assert_eq!(unions.dimensions[name].unsupported, None, "{name}");
    }
    assert_eq!(unions.unsupported, None);
    assert_eq!(dimension_sql(&unions.dimensions["param"]), "<context COMPILE_CONTEXT.x>");
}

#[test]
fn what_is_not_executed_yet_is_marked_by_its_name() {
    let model = model(EVERYTHING);
    let orders = &model.cubes["orders"];
    assert_eq!(orders.unsupported, None);
    assert_eq!(model.cubes["customers"].unsupported, None);
    assert_eq!(model.cubes["base"].unsupported, None);
    let dimensions: Vec<(&str, &str)> = orders
        .dimensions
        .iter()
        .map(|(name, dimension)| (name.as_str(), feature(&dimension.unsupported)))
        .filter(|(_, feature)| !feature.is_empty())
        .collect();
    assert_eq!(dimensions, Vec::<(&str, &str)>::new());
    let measures: Vec<(&str, &str)> =
        orders.measures.iter().map(|(name, measure)| (name.as_str(), feature(&measure.unsupported))).collect();
    let wanted = [
        ("count", ""),
        ("total", ""),
        ("average", ""),
        ("last_week", ""),
        ("share", ""),
        ("place_in_list", ""),
        ("in_currency", ""),
    ];
    assert_eq!(measures, wanted);
    assert_eq!(model.views["sales"].unsupported, None);
    assert_eq!(model.views["sales_too"].unsupported, None);
}

#[test]
fn a_child_has_its_own_things_first_and_the_parents_where_it_has_none() {
    let model = model(EVERYTHING);
    let orders = &model.cubes["orders"];
    assert!(matches!(orders.relation, Relation::Query(_)), "the child's `sql` hides the parent's `sql_table`");
    let dimensions: Vec<&str> = orders.dimensions.keys().map(String::as_str).collect();
    assert_eq!(&dimensions[..3], ["id", "kind", "status"]);
    assert!(orders.segments.contains_key("clicks"));
    assert!(!orders.naming.public, "scalars are inherited too");
    assert_eq!(orders.naming.title.as_deref(), Some("Orders"));

    let model = super::model(
        r#"
cubes:
  - name: base
    sql_table: events
    joins:
      - {name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}
      - {name: pages, relationship: many_to_one, sql: "{CUBE}.page_id = {pages.id}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: kind, sql: "{CUBE}.kind", type: string}
    pre_aggregations:
      - {name: a, dimensions: [kind]}
      - {name: b, dimensions: [kind]}
    access_policy:
      - {group: one, row_level: {allow_all: true}}
  - name: child
    extends: base
    sql: SELECT * FROM events
    joins:
      - {name: pages, relationship: one_to_one, sql: "{CUBE}.page_id = {pages.id}"}
    dimensions:
      - {name: kind, sql: "upper({CUBE}.kind)", type: string}
      - {name: more, sql: more, type: string}
    pre_aggregations:
      - {name: c, dimensions: [more]}
      - {name: b, dimensions: [more]}
    access_policy:
      - {group: two, row_level: {allow_all: true}}
  - name: users
    sql_table: users
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
  - name: pages
    sql_table: pages
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
"#,
    );
    let child = &model.cubes["child"];
    let joins: Vec<String> =
        child.joins.iter().map(|join| format!("{} {:?}", join.target, join.relationship)).collect();
    assert_eq!(joins, ["pages OneToOne", "users ManyToOne"]);
    let rollups: Vec<&str> = child.pre_aggregations.keys().map(String::as_str).collect();
    assert_eq!(rollups, ["c", "b", "a"], "own rollups first, then those of the parent that are not replaced");
    let dimensions: Vec<String> = child.dimensions.values().map(dimension_sql).collect();
    assert_eq!(dimensions, ["id", "upper(<this>.kind)", "more"]);
    let groups: Vec<&str> =
        child.access_policies.iter().flat_map(|policy| &policy.groups).map(String::as_str).collect();
    assert_eq!(groups, ["one", "two"]);
}

fn included(view: &View) -> Vec<(&str, String)> {
    let source = |value: &ViewMemberValue| match value {
        ViewMemberValue::Included { path, member } => format!("{}.{member}", path.join(".")),
        ViewMemberValue::OwnDimension(dimension) => format!("= {}", dimension_sql(dimension)),
        ViewMemberValue::OwnMeasure(measure) => format!("= {}", measure.sql.as_ref().map(shown).unwrap_or_default()),
    };
    view.members.iter().map(|(name, member)| (name.as_str(), source(&member.value))).collect()
}

fn pairs<'a>(wanted: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    wanted.iter().map(|(name, source)| (*name, (*source).to_owned())).collect()
}

#[test]
fn a_view_takes_members_under_prefix_alias_and_by_hierarchy() {
    let model = model(EVERYTHING);
    let view = &model.views["sales"];
    assert_eq!(
        included(view),
        pairs(&[
            ("status", "orders.status"),
            ("buyer_id", "orders.customers.id"),
            ("buyer_city", "orders.customers.city"),
            ("count", "orders.count"),
            ("revenue", "orders.total"),
            ("buyer_credit_total", "orders.customers.credit_total"),
            ("per_order", "= <orders.total> / NULLIF(<orders.count>, 0)"),
            ("per_order_in_cents", "= (<orders.total> / NULLIF(<orders.count>, 0)) * 100"),
        ])
    );
    assert!(view.members["buyer_id"].naming.public, "a private key dimension is visible in a view that includes it");
    assert_eq!(view.members["revenue"].naming.title.as_deref(), Some("Revenue"));
    assert_eq!(view.hierarchies[0].levels, ["status"], "an excluded level is left out");
    let folder = &view.folders[0];
    assert_eq!(folder.members, ["count", "revenue", "buyer_id", "buyer_city", "buyer_credit_total"]);
    assert_eq!(folder.folders[0].members, ["status"]);
    let child = &model.views["sales_too"];
    assert_eq!(included(child), included(view));
    assert_eq!((child.naming.title.as_deref(), child.naming.description.as_deref()), (Some("Also sold"), Some("Sold")));
    assert_eq!(model.view_groups[0].groups[0].views, ["sales_too"]);
}

const STAR: &str = r#"
cubes:
  - name: a
    sql_table: a
    joins:
      - {name: b, relationship: many_to_one, sql: "{CUBE}.b_id = {b.id}"}
      - {name: c, relationship: many_to_one, sql: "{CUBE}.c_id = {c.id}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: secret, sql: secret, type: string, public: false}
    measures: [{name: count, type: count}]
    segments: [{name: good, sql: "{CUBE}.good"}]
  - name: b
    sql_table: b
    joins: [{name: c, relationship: many_to_one, sql: "{CUBE}.c_id = {c.id}"}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
  - name: c
    sql_table: c
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
views:
"#;

#[test]
fn a_star_takes_everything_whatever_its_visibility() {
    let model = model(&format!("{STAR}  - {{name: v, cubes: [{{join_path: a, includes: '*', excludes: [good]}}]}}\n"));
    assert_eq!(included(&model.views["v"]), pairs(&[("id", "a.id"), ("secret", "a.secret"), ("count", "a.count")]));
    assert!(model.views["v"].members.values().all(|member| member.naming.public));
}

#[test]
fn a_hierarchy_brings_its_levels_along() {
    let text = EVERYTHING.replace("        excludes: [kind]\n", "").replace("          - status\n", "");
    let text = text.replace("{name: Inner, includes: [status]}", "status");
    let view = &model(&text).views["sales"];
    assert_eq!(included(view)[..2], pairs(&[("kind", "orders.kind"), ("status", "orders.status")]));
    assert_eq!(view.hierarchies[0].levels, ["kind", "status"]);
}

#[test]
fn different_roots_may_reach_a_cube_by_different_paths() {
    let view = "  - name: v\n    cubes:\n      - {join_path: a.c, includes: [id], prefix: true}\n      - {join_path: b.c, includes: [id], prefix: true, alias: d}\n";
    let model = model(&format!("{STAR}{view}"));
    assert_eq!(included(&model.views["v"]), pairs(&[("c_id", "a.c.id"), ("d_id", "b.c.id")]));
}

#[test]
fn a_child_view_cannot_take_back_the_default_filters_of_its_parent() {
    let text = EVERYTHING.replace("    title: Also sold\n", "    title: Also sold\n    default_filters: []\n");
    let child = &model(&text).views["sales_too"];
    assert_eq!(child.default_filters.len(), 1);
    assert_eq!(child.unsupported, None);
}

#[test]
fn a_name_that_is_member_and_joined_cube_is_the_cube_inside_a_path() {
    let text = REFERENCES.replace("{name: born,", "{name: regions, sql: x, type: string}\n      - {name: born,");
    let model = model(&text);
    assert_eq!(
        dimension_sql(&model.cubes["orders"].dimensions["path"]),
        "<orders/customers/regions.name> <orders/customers.name> <customers/regions.name>"
    );
}

#[test]
fn split_makes_a_view_of_its_own() {
    let view = "  - name: v\n    cubes:\n      - {join_path: a, includes: [count]}\n      - {join_path: a.b, includes: '*', split: true}\n";
    let model = model(&format!("{STAR}{view}"));
    assert_eq!(included(&model.views["v"]), pairs(&[("count", "a.count")]));
    assert_eq!(included(&model.views["v_b"]), pairs(&[("id", "a.b.id")]));
}

/// The messages of a model that must not load.
fn messages(text: &str) -> Vec<String> {
    let loaded = load(&[ModelFile { path: "model.yml".to_owned(), text: text.to_owned() }]);
    assert_eq!(loaded.model, None);
    loaded.diagnostics.into_iter().map(|problem| problem.message).collect()
}

fn joined(measure: &str) -> String {
    format!(
        "cubes:\n  - name: a\n    sql_table: a\n    joins: [{{name: b, relationship: many_to_one, sql: \"{{CUBE}}.b_id = {{b}}.id\"}}]\n    measures: [{measure}]\n  - {{name: b, sql_table: b}}\n"
    )
}

#[test]
fn a_missing_key_matters_only_with_measures_that_rows_could_repeat() {
    for measure in ["", "{name: m, sql: x, type: min}", "{name: m, sql: x, type: count_distinct}"] {
        model(&joined(measure));
    }
    for measure in [
        "{name: m, type: count}",
        "{name: m, sql: x, type: sum}",
        "{name: m, sql: x, type: avg}",
        "{name: m, sql: count(*), type: number}",
    ] {
        assert_eq!(messages(&joined(measure)), ["cube \"a\" is joined with \"b\" and has no primary key"]);
    }
}

#[test]
fn problems_of_several_files_come_together_sorted() {
    let file = |path: &str, text: &str| ModelFile { path: path.to_owned(), text: text.to_owned() };
    let loaded = load(&[
        file("b.yml", "cubes:\n  - {name: b, sql_table: b, extends: a}\n"),
        file("a.yml", "cubes:\n  - name: a\n    sql_tables: a\n  - name: b\n    sql_table: b\n"),
        file("empty.yml", "# nothing\n"),
        file("broken.yml", "cubes: [\n"),
    ]);
    let found: Vec<String> =
        loaded.diagnostics.iter().map(|d| format!("{}:{} {}", d.place.file, d.place.line, d.message)).collect();
    assert_eq!(
        found,
        [
            "a.yml:3 unknown key `sql_tables` in cube \"a\"",
            "a.yml:4 cube \"b\" is defined more than once",
            "broken.yml:2 this is not valid YAML",
        ]
    );
}

#[test]
fn granularities_keep_their_intervals() {
    let model = model(EVERYTHING);
    let granularities = &model.cubes["orders"].dimensions["created_at"].granularities;
    let interval = |months, days| Interval { months, days, microseconds: 0 };
    assert_eq!(
        granularities["fortnight"].value,
        GranularityValue::Bins { interval: interval(0, 14), offset: None, origin: Some("2024-01-01".to_owned()) }
    );
    assert_eq!(
        granularities["fiscal_year"].value,
        GranularityValue::Bins { interval: interval(12, 0), offset: Some(interval(-3, 0)), origin: None }
    );
}

#[test]
fn a_calendar_may_redefine_months_by_sql() {
    let calendar = r#"
cubes:
  - name: calendar
    calendar: true
    sql_table: days
    dimensions:
      - name: date
        sql: "{CUBE}.date"
        type: time
        primary_key: true
        granularities: [{name: month, sql: "{CUBE}.fiscal_month"}]
        time_shift:
          - {interval: 1 year, type: prior, sql: "{CUBE}.date_last_year"}
          - {name: retail, sql: "{CUBE}.retail_date"}
"#;
    let model: Model = model(calendar);
    let date = &model.cubes["calendar"].dimensions["date"];
    let GranularityValue::Sql(sql) = &date.granularities["month"].value else { panic!("SQL was given") };
    assert_eq!(shown(sql), "<this>.fiscal_month");
    assert_eq!(date.details.time_shifts.len(), 2);
    assert_eq!(date.unsupported, None);
}
