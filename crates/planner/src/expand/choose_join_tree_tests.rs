//! Which tree of joins a query gets, and which cubes' rows it repeats: reference J9 to J13.

use belvedere_model::{Model, ModelFile, load};

use super::choose_join_tree::{JoinTree, choose_join_tree};

const MODEL: &str = r#"
cubes:
  - name: orders
    sql_table: orders
    joins:
      - {name: customers, relationship: many_to_one, sql: "{CUBE}.customer_id = {customers}.id"}
      - {name: items, relationship: one_to_many, sql: "{CUBE}.id = {items}.order_id"}
      - {name: stores, relationship: many_to_one, sql: "{CUBE}.store_id = {stores}.id"}
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
  - name: customers
    sql_table: customers
    joins:
      - {name: regions, relationship: many_to_one, sql: "{CUBE}.region_id = {regions}.id"}
      - {name: profiles, relationship: one_to_one, sql: "{CUBE}.id = {profiles}.id"}
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
  - name: items
    sql_table: items
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
  - name: regions
    sql_table: regions
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
  - name: stores
    sql_table: stores
    joins:
      - {name: regions, relationship: many_to_one, sql: "{CUBE}.region_id = {regions}.id"}
      - {name: managers, relationship: one_to_one, sql: "{CUBE}.id = {managers}.id"}
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
  - name: managers
    sql_table: managers
    joins:
      - {name: stores, relationship: one_to_one, sql: "{CUBE}.id = {stores}.id"}
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
  - name: profiles
    sql_table: profiles
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
"#;

fn model() -> Model {
    let loaded = load(&[ModelFile { path: "m.yml".to_owned(), text: MODEL.to_owned() }]);
    loaded.model.expect("the model has no errors")
}

fn tree(hints: &[&str]) -> Result<JoinTree, crate::error::PlanError> {
    let hints: Vec<Vec<String>> = hints.iter().map(|hint| hint.split('.').map(str::to_owned).collect()).collect();
    choose_join_tree(&model(), &hints)
}

/// `root, from>to, …`, or the whole error.
fn shown(hints: &[&str]) -> String {
    match tree(hints) {
        Ok(tree) => std::iter::once(tree.root.clone())
            .chain(tree.edges.iter().map(|edge| format!("{}>{}", edge.from, edge.to)))
            .collect::<Vec<_>>()
            .join(", "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn one_cube_needs_no_join() {
    assert_eq!(shown(&["orders"]), "orders");
}

#[test]
fn the_root_is_the_cube_that_reaches_the_others_whatever_the_order() {
    assert_eq!(shown(&["customers", "orders"]), "orders, orders>customers");
    assert_eq!(shown(&["orders", "customers"]), "orders, orders>customers");
}

#[test]
fn cubes_in_between_are_joined_too() {
    assert_eq!(shown(&["orders", "regions"]), "orders, orders>customers, customers>regions");
}

#[test]
fn a_path_is_walked_step_by_step() {
    assert_eq!(shown(&["orders.customers.regions"]), "orders, orders>customers, customers>regions");
}

#[test]
fn a_cube_that_paths_reach_by_several_joins_is_joined_for_each() {
    let both = ["orders.customers.regions", "orders.stores.regions"];
    let edges = "orders>customers, customers>regions, orders>stores, stores>stores.regions";
    assert_eq!(shown(&both), format!("orders, {edges}"));
    // A bare name is the first role.
    assert_eq!(shown(&[both[0], both[1], "regions"]), format!("orders, {edges}"));
    let tree = tree(&both).expect("orders reaches all");
    let at = |path: &str| {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        tree.node_at(&model(), &path).map(str::to_owned)
    };
    assert_eq!(at(both[0]).as_deref(), Some("regions"));
    assert_eq!(at(both[1]).as_deref(), Some("stores.regions"));
    assert_eq!(at("orders.stores.managers"), None);
    assert!(tree.multiplies(&model(), "stores.regions"));
    assert!(!tree.determined_by(&model(), "stores.regions").contains("regions"));
}

#[test]
fn a_join_that_is_declared_both_ways_leads_back() {
    assert_eq!(shown(&["orders.stores.managers", "managers.stores"]), "orders, orders>stores, stores>managers");
}

#[test]
fn joins_are_not_followed_backwards() {
    assert_eq!(
        shown(&["items", "customers"]),
        "0A000: no join path connects the cubes \"items\", \"customers\"\n\
         DETAIL: Joins are followed from the cube that declares them, and one cube must reach all the others.\n\
         HINT: Declare a join from one of these cubes to the other, or query their members in separate sub-queries and \
         join those."
    );
}

#[test]
fn only_the_one_side_of_a_join_is_multiplied() {
    let tree = tree(&["orders", "items", "regions"]).expect("orders reaches all");
    let multiplied: Vec<(&str, bool)> = ["orders", "items", "customers", "regions"]
        .into_iter()
        .map(|cube| (cube, tree.multiplies(&model(), cube)))
        .collect();
    assert_eq!(multiplied, [("orders", true), ("items", false), ("customers", true), ("regions", true)]);
}

#[test]
fn one_to_one_multiplies_neither_side() {
    let tree = tree(&["customers", "profiles"]).expect("customers reaches profiles");
    assert!(!tree.multiplies(&model(), "customers"));
    assert!(!tree.multiplies(&model(), "profiles"));
}

#[test]
fn a_join_that_is_not_in_the_tree_multiplies_nothing() {
    let tree = tree(&["orders", "customers"]).expect("orders reaches customers");
    assert!(!tree.multiplies(&model(), "orders"));
    assert!(tree.multiplies(&model(), "customers"));
}
