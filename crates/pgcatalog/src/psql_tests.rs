//! Runs every statement that psql sends, and some of other tools, and compares with what PostgreSQL 15 answered.

use std::time::Instant;

use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::Int32Type;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::*;
use crate::value::Value;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

fn column(name: &str, pg_type: &str, comment: Option<&str>) -> CatalogColumn {
    CatalogColumn {
        name: name.to_owned(),
        pg_type: pg_type.to_owned(),
        typmod: -1,
        nullable: true,
        comment: comment.map(str::to_owned),
    }
}

/// The relations of the server that the expected rows come from.
fn catalog() -> Catalog {
    let relation = |name: &str, kind, comment: Option<&str>, columns| CatalogRelation {
        name: name.to_owned(),
        kind,
        comment: comment.map(str::to_owned),
        columns,
    };
    Catalog::new(CatalogSnapshot {
        relations: vec![
            relation(
                "orders",
                RelationKind::Table,
                Some("One row per order"),
                vec![
                    column("status", "text", Some("Where the order is: new, paid, shipped")),
                    column("city", "text", None),
                    column("created_at", "timestamp", None),
                    column("total", "numeric(12,2)", None),
                    column("count", "bigint", None),
                    column("paid", "boolean", None),
                ],
            ),
            relation(
                "Sales",
                RelationKind::View,
                Some("Orders with their customers"),
                vec![
                    column("status", "text", None),
                    column("city", "text", None),
                    column("created_at", "timestamp without time zone", None),
                    CatalogColumn {
                        typmod: (12 << 16 | 2) + 4,
                        ..column("total", "numeric", Some("Sum of all amounts"))
                    },
                    column("count", "int8", None),
                ],
            ),
            relation(
                "suppliers_view",
                RelationKind::View,
                None,
                vec![column("company", "text", None), column("contact_email", "text", None)],
            ),
        ],
        databases: Vec::new(),
        users: vec!["analyst".to_owned(), "belvedere".to_owned()],
        settings: vec![
            CatalogSetting {
                name: "TimeZone".to_owned(),
                value: "UTC".to_owned(),
                description: "The zone of time dimensions.".to_owned(),
            },
            CatalogSetting {
                name: "server_version".to_owned(),
                value: "15.18".to_owned(),
                description: "The version that clients are told.".to_owned(),
            },
        ],
        version: "PostgreSQL 15.18 (Belvedere 0.1.0)".to_owned(),
    })
}

fn session() -> SessionFacts {
    SessionFacts { backend_pid: 42, ..SessionFacts::new("belvedere", "shop") }
}

fn parse(sql: &str) -> std::result::Result<Statement, Box<dyn std::error::Error>> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)?;
    statements.pop().ok_or_else(|| "no statement".into())
}

fn with_oids(catalog: &Catalog, text: &str) -> String {
    catalog.model.iter().fold(text.to_owned(), |text, relation| {
        text.replace(&format!("{{{}}}", relation.name), &relation.oid.to_string())
    })
}

/// Rows in the text format of COPY.
fn copy_rows(
    catalog: &Catalog,
    session: &SessionFacts,
    plan: &QueryPlan,
) -> std::result::Result<Vec<String>, CatalogError> {
    let ctx = Ctx::new(catalog, session, &[], &|| false);
    let mut out = Vec::new();
    for row in exec::run(&ctx, plan, None)? {
        let mut fields = Vec::new();
        for (value, column) in row.iter().zip(&plan.columns) {
            fields.push(match value {
                Value::Null => "\\N".to_owned(),
                value => {
                    let text = casts::show(&ctx, value, column.pg_type)?;
                    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
                }
            });
        }
        out.push(fields.join("\t"));
    }
    Ok(out)
}

/// One statement with what PostgreSQL answered.
struct Case {
    when: String,
    sql: String,
    columns: Vec<String>,
    rows: Option<Vec<String>>,
    error: Option<String>,
}

fn cases(catalog: &Catalog) -> Vec<Case> {
    let text = with_oids(catalog, include_str!("../testdata/psql15.txt"));
    let mut cases: Vec<Case> = Vec::new();
    let mut part = ' ';
    for line in text.lines() {
        if let Some(when) = line.strip_prefix("=== ") {
            let when = when.to_owned();
            cases.push(Case { when, sql: String::new(), columns: Vec::new(), rows: None, error: None });
            part = 's';
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        match line {
            "--- columns" => part = 'c',
            "--- rows" => {
                part = 'r';
                case.rows = Some(Vec::new());
            }
            line if line.starts_with("--- rows differ") => part = ' ',
            line if line.starts_with("--- error ") => case.error = line.strip_prefix("--- error ").map(str::to_owned),
            line => match part {
                's' => {
                    case.sql.push_str(line);
                    case.sql.push('\n');
                }
                'c' => case.columns.push(line.to_owned()),
                'r' => case.rows.get_or_insert_default().push(line.to_owned()),
                _ => {}
            },
        }
    }
    cases
}

/// What is wrong with our answer, if anything.
fn check(catalog: &Catalog, session: &SessionFacts, case: &Case) -> std::result::Result<(), String> {
    let statement = parse(&case.sql).map_err(|error| format!("not parsed: {error}"))?;
    if !is_catalog_statement(&statement) {
        return Err("not taken for a catalog statement".to_owned());
    }
    let prepared = prepare(&statement, catalog, session, &[]);
    let batch = prepared.and_then(|prepared| Ok((prepared.run(catalog, session, &[], &|| false)?, prepared)));
    let (batch, prepared) = match (batch, &case.error) {
        (Err(error), Some(wanted)) if error.sqlstate == wanted => return Ok(()),
        (Err(error), _) => return Err(format!("{}: {error}", error.sqlstate)),
        (Ok(_), Some(wanted)) => return Err(format!("no error {wanted}")),
        (Ok(done), None) => done,
    };
    let columns: Vec<String> = prepared
        .columns
        .iter()
        .map(|column| format!("{}\t{}", column.name, catalog.types.format(column.pg_type.oid(), Some(column.typmod))))
        .collect();
    if columns != case.columns {
        return Err(format!("columns\n  ours {columns:?}\n  PostgreSQL's {:?}", case.columns));
    }
    let rows = copy_rows(catalog, session, &prepared.plan).map_err(|error| error.to_string())?;
    if rows.len() != batch.num_rows() {
        return Err("the batch has another number of rows".to_owned());
    }
    if let Some(wanted) = &case.rows {
        // PostgreSQL has no schema of ours, and no tables in it.
        let is_own = |row: &String| row.split('\t').any(|value| value == "belvedere");
        let (mut rows, mut wanted) = (rows, wanted.clone());
        rows.retain(|row| wanted.contains(row) || !is_own(row));
        if !case.sql.contains("ORDER BY") && !case.sql.contains("order by") {
            rows.sort();
            wanted.sort();
        }
        if rows != wanted {
            let missing: Vec<_> = wanted.iter().filter(|row| !rows.contains(row)).take(4).collect();
            let extra: Vec<_> = rows.iter().filter(|row| !wanted.contains(row)).take(4).collect();
            return Err(format!("{} rows for {}\n  missing {missing:?}\n  extra {extra:?}", rows.len(), wanted.len()));
        }
    }
    Ok(())
}

#[test]
fn psql_gets_what_postgresql_answers() {
    let (catalog, session) = (catalog(), session());
    let cases = cases(&catalog);
    assert!(cases.len() > 150, "the file of statements was read");
    let faults: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let fault = check(&catalog, &session, case).err()?;
            Some(format!("{}: {fault}\n{}", case.when, case.sql))
        })
        .collect();
    assert!(faults.is_empty(), "{} of {} statements\n{}", faults.len(), cases.len(), faults.join("\n"));
}

/// Column by column, the rows that a statement gives over the small snapshot.
fn rows_of(sql: &str) -> std::result::Result<Vec<String>, Box<dyn std::error::Error>> {
    let (catalog, session) = (catalog(), session());
    let prepared = prepare(&parse(sql)?, &catalog, &session, &[])?;
    Ok(copy_rows(&catalog, &session, &prepared.plan)?)
}

fn state_of(sql: &str) -> std::result::Result<String, Box<dyn std::error::Error>> {
    match run(&parse(sql)?, &catalog(), &session()) {
        Ok(_) => Ok("no error".to_owned()),
        Err(error) => Ok(format!("{} {error}", error.sqlstate)),
    }
}

#[test]
fn model_views_are_views_and_cubes_are_tables() -> Outcome {
    let sql = "SELECT relname, relkind, reltype, relnatts FROM pg_class WHERE relnamespace = 2200 ORDER BY 1";
    assert_eq!(rows_of(sql)?, ["Sales\tv\t0\t5", "orders\tr\t0\t6", "suppliers_view\tv\t0\t2"]);
    let sql = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    assert_eq!(rows_of(sql)?, ["Sales\tVIEW", "orders\tBASE TABLE", "suppliers_view\tVIEW"]);
    Ok(())
}

#[test]
fn what_tells_about_the_catalog_is_a_catalog_statement() -> Outcome {
    for sql in [
        "SELECT 1 FROM pg_class",
        "SELECT * FROM information_schema.tables",
        "SELECT version()",
        "SELECT current_user",
        "SELECT 'orders'::regclass",
        "SELECT pg_catalog.pg_backend_pid(), now()",
        "WITH x AS (SELECT oid FROM pg_type) SELECT * FROM x",
        "SELECT * FROM pg_timezone_names() WHERE name LIKE 'E%'",
    ] {
        assert!(is_catalog_statement(&parse(sql)?), "{sql}");
    }
    for sql in [
        "SELECT 1",
        "SELECT * FROM orders",
        "SELECT lower(status), version() FROM orders",
        "SELECT * FROM orders o JOIN pg_class c ON c.relname = o.status",
        "SELECT * FROM public.pg_class",
        "SELECT pg_catalog.date_trunc('day', TIMESTAMP '2024-01-01 00:00:00')",
        "WITH pg_class AS (SELECT 1) SELECT * FROM pg_class",
        "SELECT * FROM generate_series(1, 3)",
        "SELECT now()",
    ] {
        assert!(!is_catalog_statement(&parse(sql)?), "{sql}");
    }
    Ok(())
}

#[test]
fn faults_are_told_as_postgresql_tells_them() -> Outcome {
    for (sql, wanted) in [
        ("SELECT * FROM pg_clas", "42P01 relation \"pg_clas\" does not exist"),
        ("SELECT nothing FROM pg_class", "42703 column \"nothing\" does not exist"),
        ("SELECT x.oid FROM pg_class", "42P01 missing FROM-clause entry for table \"x\""),
        ("SELECT oid FROM pg_class c, pg_type t", "42702 column reference \"oid\" is ambiguous"),
        ("SELECT 'nothing'::regclass", "42P01 relation \"nothing\" does not exist"),
        ("SELECT no_such(1)", "42883 function no_such(integer) does not exist"),
        ("SELECT relname = 1 FROM pg_class", "42883 operator does not exist: name = integer"),
        ("SELECT oid = 'x' FROM pg_class", "22P02 invalid input syntax for type oid: \"x\""),
        ("SELECT (SELECT oid FROM pg_type)", "21000 more than one row returned by a subquery used as an expression"),
        ("SELECT 2147483647 + 1, version()", "22003 integer out of range"),
        ("SELECT 1 / 0, version()", "22012 division by zero"),
        ("SELECT * FROM pg_authid", "42501 permission denied for table pg_authid"),
        ("SELECT current_setting('nothing')", "42704 unrecognized configuration parameter \"nothing\""),
        (
            "SELECT relname, count(*) FROM pg_class GROUP BY relkind",
            "42803 column \"pg_class.relname\" must appear in the GROUP BY clause or be used in an aggregate function",
        ),
        (
            "SELECT c.relkind, (SELECT c.relname) FROM pg_class c GROUP BY c.relkind",
            "42803 column \"c.relname\" must appear in the GROUP BY clause or be used in an aggregate function",
        ),
        (
            "SELECT relkind, row_number() OVER (ORDER BY relname) FROM pg_class GROUP BY relkind",
            "42803 column \"pg_class.relname\" must appear in the GROUP BY clause or be used in an aggregate function",
        ),
        ("SELECT relname ~ '(' FROM pg_class", "2201B invalid regular expression: \"(\""),
    ] {
        assert_eq!(state_of(sql)?, wanted, "{sql}");
    }
    Ok(())
}

#[test]
fn parameters_take_their_types_from_use_and_their_values_from_the_client() -> Outcome {
    let (catalog, session) = (catalog(), session());
    let sql =
        "SELECT attnum FROM pg_attribute WHERE attrelid = $1::regclass AND attname = $2 AND attnum = ANY($3) LIMIT $4";
    let prepared = prepare(&parse(sql)?, &catalog, &session, &[])?;
    assert_eq!(prepared.parameters, [Type::REGCLASS, Type::TEXT, Type::INT2_ARRAY, Type::INT8]);
    let list = ScalarValue::List(ScalarValue::new_list_nullable(
        &[ScalarValue::Int16(Some(4)), ScalarValue::Int16(Some(9))],
        &datafusion::arrow::datatypes::DataType::Int16,
    ));
    let values = [ScalarValue::from("orders"), ScalarValue::from("total"), list, ScalarValue::Int64(Some(10))];
    let batch = prepared.run(&catalog, &session, &values, &|| false)?;
    assert_eq!(batch.num_rows(), 1);
    let declared = prepare(&parse("SELECT $1 = relname FROM pg_class")?, &catalog, &session, &[Some(Type::VARCHAR)])?;
    assert_eq!(declared.parameters, [Type::VARCHAR]);
    let missing = prepared.run(&catalog, &session, &values[..1], &|| false).map(|_| ()).map_err(|error| error.sqlstate);
    assert_eq!(missing, Err("08P01"));
    Ok(())
}

#[test]
fn values_arrive_as_arrow_with_their_types() -> Outcome {
    let sql = "SELECT relname, relnatts + 0, oid, ARRAY[1, 2], NULL::text[] FROM pg_class WHERE relname = 'orders'";
    let (columns, batch) = run(&parse(sql)?, &catalog(), &session())?;
    let types: Vec<Type> = columns.into_iter().map(|column| column.pg_type).collect();
    assert_eq!(types, [Type::NAME, Type::INT4, Type::OID, Type::INT4_ARRAY, Type::TEXT_ARRAY]);
    assert_eq!(batch.column(0).as_string::<i32>(), &StringArray::from(vec!["orders"]));
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().value(0), 6);
    assert_eq!(batch.column(3).as_list::<i32>().value(0).as_primitive::<Int32Type>().values(), &[1, 2]);
    assert!(batch.column(4).is_null(0));
    assert_eq!(batch.schema().field(2).metadata().get(PG_TYPE).map(String::as_str), Some("oid"));
    Ok(())
}

#[test]
fn oids_stay_the_same_beside_other_relations() {
    let before = catalog();
    let mut snapshot = before.snapshot.clone();
    snapshot.relations.insert(0, CatalogRelation { name: "a_new_one".to_owned(), ..snapshot.relations[0].clone() });
    let after = Catalog::new(snapshot);
    for relation in &before.model {
        assert!(after.model_relation(relation.oid).is_some_and(|same| same.name == relation.name));
    }
}

#[test]
fn a_session_sees_itself_and_no_one_else() -> Outcome {
    let catalog = catalog();
    let session = SessionFacts { backend_pid: 7, ..SessionFacts::new("guest", "anything") };
    let sql = "SELECT current_database(), current_user, pg_backend_pid(), d.datname, r.rolcanlogin, s.pid
               FROM pg_database d, pg_roles r, pg_stat_activity s WHERE r.rolname = 'guest'";
    let prepared = prepare(&parse(sql)?, &catalog, &session, &[])?;
    assert_eq!(copy_rows(&catalog, &session, &prepared.plan)?, ["anything\tguest\t7\tanything\tt\t7"]);
    let other = SessionFacts::new("other", "elsewhere");
    let sql = "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles WHERE rolname <> 'analyst'";
    let prepared = prepare(&parse(sql)?, &catalog, &other, &[])?;
    assert_eq!(copy_rows(&catalog, &other, &prepared.plan)?, ["elsewhere", "belvedere", "other"]);
    Ok(())
}

#[test]
fn a_cross_join_of_everything_is_stopped() -> Outcome {
    let (catalog, session) = (catalog(), session());
    let sql = "SELECT count(*) FROM pg_proc a, pg_proc b, pg_proc c";
    let prepared = prepare(&parse(sql)?, &catalog, &session, &[])?;
    let stopped = prepared.run(&catalog, &session, &[], &|| true).map(|_| ()).map_err(|error| error.sqlstate);
    assert_eq!(stopped, Err("57014"));
    let refused = prepared.run(&catalog, &session, &[], &|| false).map(|_| ()).map_err(|error| error.sqlstate);
    assert_eq!(refused, Err("53200"));
    Ok(())
}

/// A model of 200 views with 20 columns each: even asking for all 4 000 columns with their comments does not compare each
/// with each.
#[test]
fn a_large_model_is_read_by_index() -> Outcome {
    let small = catalog();
    let mut snapshot = small.snapshot.clone();
    for view in 0..200 {
        snapshot.relations.push(CatalogRelation {
            name: format!("view_{view}"),
            kind: RelationKind::View,
            comment: Some("A view".to_owned()),
            columns: (0..20).map(|at| column(&format!("column_{at}"), "numeric(12,2)", Some("A column"))).collect(),
        });
    }
    let (large, session) = (Catalog::new(snapshot), session());
    for case in cases(&large).iter().filter(|case| case.error.is_none()) {
        let started = Instant::now();
        let plan = prepare(&parse(&case.sql)?, &large, &session, &[])?.plan;
        let ctx = Ctx::new(&large, &session, &[], &|| false);
        exec::run(&ctx, &plan, None)?;
        let work = ctx.work();
        assert!(work < 150_000, "{}: {work} rows in {:?}\n{}", case.when, started.elapsed(), case.sql);
    }
    Ok(())
}

#[test]
fn every_relation_can_be_read() -> Outcome {
    let (catalog, session) = (catalog(), session());
    let mut filled = 0;
    for relation in &catalog.system {
        if matches!(relation.name.as_str(), "pg_authid" | "pg_shadow") {
            continue;
        }
        let schema = crate::catalog::namespace_name(relation.namespace);
        let sql = format!("SELECT *, tableoid FROM {schema}.{}", relation.name);
        let (columns, batch) = run(&parse(&sql)?, &catalog, &session)?;
        assert_eq!(columns.len(), relation.columns.len() + 1, "{sql}");
        filled += usize::from(batch.num_rows() > 0);
    }
    assert_eq!((catalog.system.len(), filled), (210, 40));
    Ok(())
}
