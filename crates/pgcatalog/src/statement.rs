//! Tells statements about the catalog from statements about data.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::OnceLock;

use datafusion::sql::sqlparser::ast::{DataType, Expr, ObjectName, Query, Statement, TableFactor, Visit, Visitor};

use crate::bind::{ident, object_name};
use crate::data;
use crate::functions::{self, tells_about_catalog};
use crate::own::OWN_SCHEMA;

/// Whether a statement is answered by [`crate::Catalog`]: it reads relations of `pg_catalog` and `information_schema` only,
/// or reads none and calls a function that tells about the server, the session or an object.
///
/// A statement that joins the catalog with a view of the model is not one.
#[must_use]
pub fn is_catalog_statement(statement: &Statement) -> bool {
    let Statement::Query(_) = statement else { return false };
    let mut found = Found::default();
    let _ = statement.visit(&mut found);
    let catalog = |(schema, name): &(Option<String>, String)| match schema.as_deref() {
        Some("pg_catalog" | "information_schema" | OWN_SCHEMA) => true,
        Some(_) => false,
        None => found.ctes.contains(name) || is_pg_catalog_relation(name),
    };
    let own = |(schema, name): &(Option<String>, String)| schema.is_none() && found.ctes.contains(name);
    if !found.relations.iter().all(catalog) {
        return false;
    }
    found.relations.iter().any(|relation| !own(relation)) || found.tells
}

fn is_pg_catalog_relation(name: &str) -> bool {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let lines = data::RELATIONS.lines().filter_map(|line| line.strip_prefix("R\t"));
        let fields = lines.map(|line| line.split('\t').skip(1).take(2).collect::<Vec<_>>());
        fields.filter(|fields| fields[0] == "pg_catalog").map(|fields| fields[1]).collect()
    });
    names.contains(name)
}

/// What a statement names.
#[derive(Default)]
struct Found {
    relations: Vec<(Option<String>, String)>,
    ctes: HashSet<String>,
    tells: bool,
}

impl Found {
    fn function(&mut self, name: &ObjectName) {
        if let Ok((_, name)) = object_name(name) {
            self.tells |= tells_about_catalog(&name);
        }
    }

    fn data_type(&mut self, data_type: &DataType) {
        let name = data_type.to_string().to_lowercase();
        let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
        let reg = ["regclass", "regproc", "regprocedure", "regtype", "regnamespace", "regrole"];
        self.tells |= reg.contains(&name);
    }
}

impl Visitor for Found {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.ctes.insert(ident(&cte.alias.name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: None, .. } => {
                if let Ok(name) = object_name(name) {
                    self.relations.push(name);
                }
            }
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => self.function(name),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => self.function(&function.name),
            Expr::Identifier(name) if name.quote_style.is_none() => {
                let name = ident(name);
                self.tells |= functions::BARE.contains(&name.as_str()) && name != "current_timestamp" && name != "user";
            }
            Expr::Cast { data_type, .. } => self.data_type(data_type),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
