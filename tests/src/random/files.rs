//! A world as files: the model, the tables of PostgreSQL and MariaDB, CSV files, the config.

use std::fmt::Write as _;

use super::world::{Fold, Formula, Kind, Relation, Source, World};

/// The model, in one YAML file. PostgreSQL is the data source `default`, the others are `maria` and `files`.
pub fn model(world: &World) -> String {
    let mut text = "cubes:\n".to_owned();
    for (index, cube) in world.cubes.iter().enumerate() {
        let _ = writeln!(text, "  - name: {}\n    sql_table: {}", cube.name, world.table(index));
        match world.sources[index] {
            Source::Postgres => {}
            Source::Maria => text.push_str("    data_source: maria\n"),
            Source::Files => text.push_str("    data_source: files\n"),
        }
        let joins: Vec<_> = world.joins_of(index).collect();
        if !joins.is_empty() {
            text.push_str("    joins:\n");
        }
        for (_, join) in joins {
            let to = &world.cubes[join.to].name;
            let on: Vec<String> = join
                .pairs
                .iter()
                .map(|(from, column)| {
                    if join.by_member {
                        format!("{{CUBE}}.{from} = {{{to}.{column}}}")
                    } else {
                        format!("{{CUBE}}.{from} = {{{to}}}.{column}")
                    }
                })
                .collect();
            let relation = match join.relation {
                Relation::ManyToOne => "many_to_one",
                Relation::OneToMany => "one_to_many",
                Relation::OneToOne => "one_to_one",
            };
            let on = quoted(&on.join(" AND "));
            let _ = writeln!(text, "      - {{ name: {to}, relationship: {relation}, sql: {on} }}");
        }
        text.push_str("    dimensions:\n");
        for member in &cube.dimensions {
            let key = if member.is_key { ", primary_key: true, public: true" } else { "" };
            let (sql, member_type) = (member_sql(&member.sql), member.kind.member_type());
            let (sql, key) = match &member.sub_query {
                Some(reference) => (quoted(reference), ", sub_query: true"),
                None => (sql, key),
            };
            let _ = writeln!(text, "      - {{ name: {}, sql: {sql}, type: {member_type}{key} }}", member.name);
        }
        if !cube.segments.is_empty() {
            text.push_str("    segments:\n");
        }
        for member in &cube.segments {
            let _ = writeln!(text, "      - {{ name: {}, sql: {} }}", member.name, member_sql(&member.sql));
        }
        if !world.policies[index].is_empty() {
            text.push_str("    access_policy:\n");
        }
        for policy in &world.policies[index] {
            let filters = policy.filters.join(", ");
            let _ = writeln!(text, "      - {{ group: \"*\", row_level: {{ filters: [{filters}] }} }}");
        }
        text.push_str("    measures:\n");
        for measure in &cube.measures {
            let body = match &measure.formula {
                Formula::Leaf { fold, sql, filter, foreign } => {
                    let fold = match fold {
                        Fold::Count | Fold::CountSql => "count",
                        Fold::CountDistinct => "count_distinct",
                        Fold::CountDistinctApprox => "count_distinct_approx",
                        Fold::Sum => "sum",
                        Fold::Avg => "avg",
                        Fold::Min => "min",
                        Fold::Max => "max",
                    };
                    let sql = if sql.is_empty() { String::new() } else { format!(", sql: {}", member_sql(sql)) };
                    let foreign = foreign.as_ref().map(|foreign| {
                        let other = &world.cubes[world.joins[foreign.join].to];
                        let dimension = &other.dimensions[foreign.dimension].name;
                        foreign.condition.replace('#', &format!("{{{}.{dimension}}}", other.name))
                    });
                    let filters: Vec<String> = filter
                        .iter()
                        .chain(&foreign)
                        .map(|filter| format!("{{ sql: {} }}", member_sql(filter)))
                        .collect();
                    let filters =
                        if filters.is_empty() { String::new() } else { format!(", filters: [{}]", filters.join(", ")) };
                    format!("type: {fold}{sql}{filters}")
                }
                Formula::Calculated { text, of } => {
                    let mut text = text.clone();
                    for (place, (other, measure)) in of.iter().enumerate() {
                        let name = &world.cubes[*other].measures[*measure].name;
                        let reference = if *other == index {
                            format!("{{{name}}}")
                        } else {
                            format!("{{{}.{name}}}", world.cubes[*other].name)
                        };
                        text = text.replace(&format!("#{place}"), &reference);
                    }
                    format!("type: number, sql: {}", quoted(&text))
                }
            };
            let _ = writeln!(text, "      - {{ name: {}, {body} }}", measure.name);
        }
        let mut rollups = world.rollups.iter().filter(|rollup| rollup.owner == index).peekable();
        if rollups.peek().is_some() {
            text.push_str("    pre_aggregations:\n");
        }
        for rollup in rollups {
            text.push_str(&rollup.yaml());
        }
    }
    text.push_str("views:\n");
    for view in &world.views {
        let _ = writeln!(text, "  - name: {}\n    cubes:", view.name);
        for entry in &view.entries {
            let path: Vec<&str> = entry.path.iter().map(|cube| world.cubes[*cube].name.as_str()).collect();
            let cube = path[path.len() - 1];
            let prefix = match &entry.prefix {
                None => String::new(),
                Some(prefix) if prefix == cube => ", prefix: true".to_owned(),
                Some(prefix) => format!(", prefix: true, alias: {prefix}"),
            };
            let names: Vec<&str> = entry.members.iter().map(|(name, _)| name.as_str()).collect();
            let includes = if entry.everything { "'*'".to_owned() } else { format!("[{}]", names.join(", ")) };
            let _ = writeln!(text, "      - {{ join_path: {}{prefix}, includes: {includes} }}", path.join("."));
        }
    }
    text
}

fn member_sql(sql: &str) -> String {
    quoted(&sql.replace('$', "{CUBE}"))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The statements that make and fill all tables.
pub fn postgres(world: &World) -> String {
    script(world, |_| true, |kind| kind.sql_type().to_owned(), "", |text| text.replace('\'', "''"))
}

/// The same for the tables that are in MariaDB. Its texts ignore case and accents, as on many servers.
pub fn mariadb(world: &World) -> String {
    let wanted = |cube: usize| world.sources[cube] == Source::Maria;
    let sql_type = |kind: Kind| match kind {
        Kind::Text => "varchar(50) COLLATE utf8mb4_general_ci".to_owned(),
        Kind::Bool => "tinyint(1)".to_owned(),
        Kind::Time => "datetime(6)".to_owned(),
        Kind::Numeric => "decimal(10,2)".to_owned(),
        Kind::Int | Kind::Big | Kind::Float | Kind::Date => kind.sql_type().to_owned(),
    };
    script(world, wanted, sql_type, " CHARACTER SET utf8mb4", |text| text.replace('\\', "\\\\").replace('\'', "''"))
}

fn script(
    world: &World,
    wanted: impl Fn(usize) -> bool,
    sql_type: impl Fn(Kind) -> String,
    options: &str,
    escape: impl Fn(&str) -> String,
) -> String {
    let mut text = String::new();
    for (index, cube) in world.cubes.iter().enumerate().filter(|(index, _)| wanted(*index)) {
        let columns: Vec<String> =
            cube.columns.iter().map(|column| format!("{} {}", column.name, sql_type(column.kind))).collect();
        let keys: Vec<&str> = cube.columns[..cube.keys].iter().map(|column| column.name.as_str()).collect();
        let table = world.table(index);
        if !options.is_empty() {
            let _ = writeln!(text, "DROP TABLE IF EXISTS {table};");
        }
        let _ = writeln!(
            text,
            "CREATE TABLE {table} ({}, PRIMARY KEY ({})){options};",
            columns.join(", "),
            keys.join(", ")
        );
        let rows: Vec<String> = cube
            .rows
            .iter()
            .map(|row| {
                let values = row.iter().zip(&cube.columns).map(|(value, column)| match value {
                    None => "NULL".to_owned(),
                    Some(value) if matches!(column.kind, Kind::Text | Kind::Time | Kind::Date) => {
                        format!("'{}'", escape(value))
                    }
                    Some(value) => value.clone(),
                });
                format!("({})", values.collect::<Vec<_>>().join(", "))
            })
            .collect();
        if !rows.is_empty() {
            let _ = writeln!(text, "INSERT INTO {table} VALUES\n{};", rows.join(",\n"));
        }
    }
    text
}

/// Name and content of a CSV file for each cube that is one, and the config's lines for their columns' types.
pub fn csv(world: &World) -> (Vec<(String, String)>, Vec<String>) {
    let wanted = |cube: usize| world.sources[cube] == Source::Files;
    let (mut files, mut types) = (Vec::new(), Vec::new());
    for (index, cube) in world.cubes.iter().enumerate().filter(|(index, _)| wanted(*index)) {
        let names: Vec<&str> = cube.columns.iter().map(|column| column.name.as_str()).collect();
        let mut text = format!("{}\n", names.join(","));
        for row in &cube.rows {
            let values: Vec<&str> = row.iter().map(|value| value.as_deref().unwrap_or_default()).collect();
            let _ = writeln!(text, "{}", values.join(","));
        }
        files.push((format!("{}.csv", world.table(index)), text));
        let columns: Vec<String> =
            cube.columns.iter().map(|column| format!("{}: {:?}", column.name, column.kind.sql_type())).collect();
        types.push(format!("{}: {{ {} }}", world.table(index), columns.join(", ")));
    }
    (files, types)
}
