//! Cubes (semantics 1.2): the relation, then each section.

use indexmap::IndexMap;

use crate::check;
use crate::definitions::{Definition, Item};
use crate::problems::Problems;
use crate::read::access_policy::access_policies;
use crate::read::dimension::dimension;
use crate::read::hierarchy::hierarchy;
use crate::read::join::join;
use crate::read::measure::measure;
use crate::read::naming::naming;
use crate::read::pre_aggregation::pre_aggregation;
use crate::read::refresh_key::{RefreshKeyOwner, refresh_key};
use crate::read::segment::segment;
use crate::references::{References, Scope};
use crate::symbols::Symbols;
use crate::{Cube, Relation, SqlTemplate};

/// Reads a cube; what is broken in it is reported and left out.
pub(crate) fn cube(definition: &Definition<'_>, symbols: &Symbols, problems: &mut Problems) -> Cube {
    let scope = Scope::Cube(&definition.name);
    let mut references = References::new(symbols, problems, scope);
    let fields = &definition.fields;
    let (naming, computed_public) = naming(fields, &definition.name, &definition.place, true, references.problems);
    references.context = None;
    references.in_relation = true;
    let relation = relation(definition, &mut references);
    references.in_relation = false;
    check::member_in_cube_sql::check(&relation, &definition.what(), &mut references);
    let in_sql = references.context.take();
    let calendar = fields.boolean("calendar", references.problems).unwrap_or(false);
    fields.boolean("rewrite_queries", references.problems);
    let data_source = fields.text("data_source", references.problems).unwrap_or_else(|| "default".to_owned());
    let sql_alias = fields.text("sql_alias", references.problems);
    let refresh_key = refresh_key(fields, RefreshKeyOwner::Cube, &mut references).map(|key| key.key);
    let dimensions =
        section(definition, "dimensions", &mut references, |item, references| dimension(item, calendar, references));
    let measures = section(definition, "measures", &mut references, measure);
    let segments = section(definition, "segments", &mut references, segment);
    let hierarchies = section(definition, "hierarchies", &mut references, hierarchy);
    let pre_aggregations = section(definition, "pre_aggregations", &mut references, pre_aggregation);
    check::join_twice::check(definition, references.problems);
    let joins =
        section(definition, "joins", &mut references, |item, references| join(item, &definition.name, references));
    let members: Vec<&str> = symbols
        .cubes
        .get(&definition.name)
        .into_iter()
        .flat_map(|cube| cube.members.keys())
        .map(String::as_str)
        .collect();
    let access_policies = access_policies(definition, &members, references.problems);
    Cube {
        naming,
        relation,
        data_source,
        sql_alias,
        dimensions,
        measures,
        segments,
        joins: joins.into_values().collect(),
        hierarchies: hierarchies.into_values().collect(),
        pre_aggregations,
        access_policies,
        refresh_key,
        calendar,
        unsupported: in_sql.or(computed_public),
    }
}

/// Reads all items of a section; those that cannot be read are left out, and of several with one name the first counts.
fn section<T>(
    definition: &Definition<'_>,
    key: &str,
    references: &mut References<'_>,
    mut read: impl FnMut(&Item<'_>, &mut References<'_>) -> Option<T>,
) -> IndexMap<String, T> {
    let mut found = IndexMap::new();
    for item in definition.section(key) {
        references.problems.inherited = item.inherited;
        let value = read(item, references);
        references.problems.inherited = false;
        if let Some(value) = value
            && !found.contains_key(&item.name)
        {
            found.insert(item.name.clone(), value);
        }
    }
    references.context = None;
    found
}

/// C2: exactly one of `sql` and `sql_table`.
fn relation(definition: &Definition<'_>, references: &mut References<'_>) -> Relation {
    let fields = &definition.fields;
    let what = definition.what();
    let nothing =
        || Relation::Table(SqlTemplate { parts: Vec::new(), place: definition.place.clone(), text: String::new() });
    match (fields.get("sql"), fields.get("sql_table")) {
        (Some(sql), Some(table)) => {
            let (first, second) =
                if (sql.key_place.line, sql.key_place.column) < (table.key_place.line, table.key_place.column) {
                    (sql, table)
                } else {
                    (table, sql)
                };
            references.problems.error(
                &second.key_place,
                format!("{what} has both `sql` and `sql_table`"),
                format!("`{}` is on line {}", first.key, first.key_place.line),
                "keep `sql_table` for a table or view of the database, `sql` for a query",
            );
            nothing()
        }
        (None, None) => {
            // A parent that could not be read may have said it, and a mistyped key was reported.
            if !definition.incomplete && !fields.is_mistyped("sql") && !fields.is_mistyped("sql_table") {
                references.problems.error(
                    &definition.place,
                    format!("{what} does not say where its rows come from"),
                    "neither `sql_table` nor `sql` here",
                    "add `sql_table: schema.table`, or `sql:` with a query",
                );
            }
            nothing()
        }
        (Some(sql), None) => {
            references.template(&sql.value, &format!("`sql` of {what}")).map_or_else(nothing, Relation::Query)
        }
        (None, Some(table)) => {
            references.template(&table.value, &format!("`sql_table` of {what}")).map_or_else(nothing, Relation::Table)
        }
    }
}
