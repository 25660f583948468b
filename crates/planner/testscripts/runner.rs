//! Golden scripts: statements over small models with fake sources, planned up to a stage; whole plans, columns and errors.
//!
//! A script is a file `STAGE/RULE` beside this one. Its commands:
//!
//! ```text
//! model shop                                  # models/shop.yml, from here on
//! session zone=Europe/Berlin                  # the session's zone, from here on; 2026-03-15 10:30 UTC is now
//! user name=eve groups=sales|support region=EU   # who asks, from here on: access policies see groups and attributes
//! lower fires=build_legs silent=read_rows "SELECT status, MEASURE(revenue) FROM orders GROUP BY 1"
//! bind declared=int8 bind=5 "SELECT status FROM orders WHERE id = $1"
//! ```
//!
//! `built orders.daily partitions=2026-01-01..2026-02-01:30|none:1 from=2026-01-01 age=60` says which rows a rollup has, from here on: its
//! partitions with their rows (`all:500` without partitions), where its build began or ended (`from=`, `to=`), how many seconds ago it was
//! built. `rollups usage=required choice=first staleness=30` are the session's settings. `layout orders.daily` prints what it stores.
//!
//! `substitute` prints the plan after the substitution, the rollups used and the refusals. `gate`, `name`, `rewrite`, `bind`, `expand` and `lower` print what is there after that stage: SQL, or the columns and the plan, and
//! for `lower` what each base scan asks of its source. A refusal is printed whole, with the rule that refused; the text at its
//! position stands after `AT`. The mark that keeps equal names apart is shown as `~`.
//!
//! `fires=RULE` holds when the rule changed the statement or refused it, `silent=RULE` when it ran and did not; both may occur
//! several times, and the names are those of `pipeline::Rule`. `declared=` and `bind=` hold one type or value for each parameter, with `|`
//! between them; `\N` is NULL. With `repeat=N` what stands between `«` and `»` stands there N times.
//!
//! After a change: `UPDATE_GOLDENFILES=1 cargo nextest run --workspace --test testscripts`, then read the diff.

mod refusals;

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use belvedere_functions::{PG_TYPE, Zone, parse_literal};
use belvedere_model::{Model, ModelFile};
use belvedere_planner::catalog::{BaseColumn, Catalog, SourceDialect, Sources, SqlPiece, TypedExpr};
use belvedere_planner::error::PlanError;
use belvedere_planner::functions::Functions;
use belvedere_planner::nodes::row_barrier::RowBarrier;
use belvedere_planner::pipeline::{self, Rule, Stage, Trace};
use belvedere_planner::policy::{self, Identity};
use belvedere_planner::rollups::{
    Cover, PartitionRange, RollupColumn, RollupIndex, RollupLayout, Rollups, StoredPartition, StoredRollup, StoredRows,
};
use belvedere_planner::session::{RollupChoice, RollupSettings, RollupUsage, SessionFacts};
use belvedere_planner::{bind, parse, tables, types};
use chrono::DateTime;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DFSchema, ScalarValue, TableReference};
use datafusion_expr::{ExprSchemable, LogicalPlan, TableSource};
use datafusion_sql::sqlparser::ast::{Query, Statement};
use datafusion_sql::sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use datafusion_sql::sqlparser::parser::Parser;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The first document of a model's file; the second is the model.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Setup {
    /// `postgres`, `mysql` or `files`, by data source.
    sources: HashMap<String, String>,
    /// Columns with their SQL type, by cube (by table for files). A cube that is left out is one whose source cannot be asked.
    columns: HashMap<String, HashMap<String, String>>,
    /// Cubes whose source sorts text by its own rules.
    #[serde(default)]
    own_collation: Vec<String>,
}

#[derive(Debug)]
struct Fake {
    setup: Setup,
    model: Arc<Model>,
    functions: Arc<Functions>,
    /// The first expression that has no type: a fault of the script.
    untyped: Mutex<Option<String>>,
}

impl Fake {
    fn fields(&self, table: &str) -> Option<Vec<Field>> {
        let columns = self.setup.columns.get(table)?;
        let mut fields: Vec<Field> = columns
            .iter()
            .map(|(name, sql_type)| {
                let parsed =
                    Parser::new(&PostgreSqlDialect {}).try_with_sql(sql_type).and_then(|mut p| p.parse_data_type());
                let field = types::field_of(&parsed.expect("a model names types of PostgreSQL"))
                    .expect("and ones that we have");
                field.with_name(name)
            })
            .collect();
        fields.sort_by(|one, other| one.name().cmp(other.name()));
        Some(fields)
    }

    /// Types by our own binding: the columns are all that a script has to say.
    fn bound_type(&self, cube: &str, sql: &str) -> std::result::Result<Field, PlanError> {
        let cube = &self.model.cubes[cube];
        let dialect = self.dialect(&cube.data_source).expect("the source is in the setup");
        let fields = self.fields(&cube.naming.name).unwrap_or_default();
        // Not parsed, which would write it in small letters.
        let alias = TableReference::bare(belvedere_planner::members::alias_of(cube));
        let schema =
            DFSchema::try_from_qualified_schema(alias, &Schema::new(fields.clone())).expect("names are unique");
        let sql_dialect: &dyn Dialect =
            if dialect == SourceDialect::MySql { &MySqlDialect {} } else { &PostgreSqlDialect {} };
        let expr = Parser::new(sql_dialect)
            .try_with_sql(sql)
            .and_then(|mut parser| parser.parse_expr())
            .map_err(|error| PlanError::syntax(error.to_string()))?;
        let empty = Catalog {
            model: Arc::clone(&self.model),
            tables: indexmap::IndexMap::new(),
            sources: Arc::new(NoSources),
            policies: Arc::default(),
            hidden: Arc::default(),
            rollups: Arc::default(),
        };
        let bound = bind::bind_expr(
            expr,
            &schema,
            &empty,
            &self.functions,
            &tables::neutral_session(),
            SourceDialect::Postgres,
        )?;
        let field = bound.to_field(&schema).expect("a bound expression has a type").1.as_ref().clone();
        Ok(match (&bound, field.data_type(), dialect) {
            (datafusion_expr::Expr::Column(_), ..) => field,
            // What databases say of an expression has no digits, and MySQL's comparisons are numbers.
            (_, DataType::Decimal128(..) | DataType::Decimal256(..), _) => field.with_data_type(types::BARE_NUMERIC),
            (_, DataType::Boolean, SourceDialect::MySql) => field.with_data_type(DataType::Int64),
            _ => field,
        })
    }
}

impl Sources for Fake {
    fn dialect(&self, data_source: &str) -> Option<SourceDialect> {
        Some(match self.setup.sources.get(data_source)?.as_str() {
            "postgres" => SourceDialect::Postgres,
            "mysql" => SourceDialect::MySql,
            "files" => SourceDialect::Files,
            other => unreachable!("{other} is no kind of source"),
        })
    }

    fn zone(&self, _: &str) -> Zone {
        Zone::UTC
    }

    fn is_untyped(&self, _data_source: &str) -> bool {
        false
    }

    fn typed(&self, cube: &str, sql: &str) -> Option<TypedExpr> {
        self.setup.columns.get(cube)?;
        match self.bound_type(cube, sql) {
            Ok(field) => Some(TypedExpr {
                field,
                compares_by_code_point: !self.setup.own_collation.iter().any(|own| own == cube),
            }),
            Err(error) => {
                let mut untyped = self.untyped.lock().expect("no script panics while it holds this");
                untyped.get_or_insert(format!("{sql} of {cube}: {error}"));
                None
            }
        }
    }

    fn base_table(
        &self,
        data_source: &str,
        relation: &[SqlPiece],
        alias: &str,
        columns: Vec<BaseColumn>,
    ) -> datafusion_common::Result<Arc<dyn TableSource>> {
        let dialect = self.dialect(data_source).expect("the planner asked for its dialect before");
        let relation: String = relation
            .iter()
            .map(|piece| match piece {
                SqlPiece::Text(text) => text.clone(),
                SqlPiece::Value(value) => format!("«{value}»"),
            })
            .collect();
        let items: Vec<String> =
            columns.iter().map(|column| format!("{} AS {}", column.sql, column.field.name())).collect();
        let sql = format!("SELECT {} FROM {relation} AS {}", items.join(", "), dialect.quoted(alias));
        let schema = Arc::new(Schema::new(columns.into_iter().map(|column| column.field).collect::<Vec<_>>()));
        Ok(Arc::new(Table { sql: format!("{data_source}: {sql}"), schema }))
    }

    fn file_table(&self, _data_source: &str, table: &TableReference) -> Option<Arc<dyn TableSource>> {
        let fields = self.fields(table.table())?;
        Some(Arc::new(Table { sql: format!("file {table}"), schema: Arc::new(Schema::new(fields)) }))
    }
}

#[derive(Debug)]
struct NoSources;

impl Sources for NoSources {
    fn dialect(&self, _: &str) -> Option<SourceDialect> {
        None
    }

    fn zone(&self, _: &str) -> Zone {
        Zone::UTC
    }

    fn is_untyped(&self, _data_source: &str) -> bool {
        false
    }

    fn typed(&self, _: &str, _: &str) -> Option<TypedExpr> {
        None
    }

    fn base_table(
        &self,
        _: &str,
        _: &[SqlPiece],
        _: &str,
        _: Vec<BaseColumn>,
    ) -> datafusion_common::Result<Arc<dyn TableSource>> {
        datafusion_common::internal_err!("an expression of one cube has no tables")
    }

    fn file_table(&self, _: &str, _: &TableReference) -> Option<Arc<dyn TableSource>> {
        None
    }
}

#[derive(Debug)]
struct Table {
    sql: String,
    schema: SchemaRef,
}

impl TableSource for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[derive(Debug)]
struct Rows {
    layout: SchemaRef,
    /// Of the copies of indexes that aggregate.
    coarser: HashMap<String, SchemaRef>,
}

impl StoredRows for Rows {
    fn table(&self, partitions: &[usize], index: Option<&str>) -> datafusion_common::Result<Arc<dyn TableSource>> {
        let of_index = index.iter().map(|index| format!(" of index {index}")).collect::<String>();
        let schema = Arc::clone(index.map_or(&self.layout, |index| &self.coarser[index]));
        Ok(Arc::new(Table { sql: format!("partitions {partitions:?}{of_index}"), schema }))
    }
}

/// `2026-01-01` or `2026-01-01T12` in microseconds.
fn moment(text: &str) -> Result<i64> {
    let field = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    match parse_literal(text, &field, None, &Zone::UTC)? {
        ScalarValue::TimestampMicrosecond(Some(at), _) => Ok(at),
        other => Err(format!("{other} is no moment").into()),
    }
}

struct Scripts {
    functions: Arc<Functions>,
    catalog: Option<Catalog>,
    session: SessionFacts,
    identity: Identity,
    /// Rules that fired or were silent where the script says otherwise.
    faults: Vec<String>,
}

impl Scripts {
    fn new() -> Self {
        let session = SessionFacts {
            user: "ada".to_owned(),
            database: "shop".to_owned(),
            zone: Zone::UTC,
            now: DateTime::from_timestamp(1_773_570_600, 0).expect("2026-03-15 10:30 exists"),
            rollups: RollupSettings::default(),
        };
        Self {
            functions: Arc::new(Functions::new()),
            catalog: None,
            session,
            identity: Identity::nobody(Zone::UTC),
            faults: Vec::new(),
        }
    }

    fn load(&mut self, name: &str) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testscripts/models/{name}.yml"));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (setup, model) = text.split_once("\n---\n").ok_or("a model's file has two documents")?;
        let setup: Setup = serde_yaml::from_str(setup)?;
        let loaded = belvedere_model::load(&[ModelFile { path: format!("{name}.yml"), text: model.to_owned() }]);
        let model = Arc::new(loaded.model.ok_or_else(|| format!("{:#?}", loaded.diagnostics))?);
        let sources = Arc::new(Fake {
            setup,
            model: Arc::clone(&model),
            functions: Arc::clone(&self.functions),
            untyped: Mutex::new(None),
        });
        let fake = Arc::clone(&sources);
        let mut catalog = tables::catalog(model, sources, &self.functions);
        catalog.rollups = Arc::new(Rollups::of_model(&catalog, &self.functions, &self.session));
        self.catalog = Some(catalog);
        match fake.untyped.lock().expect("nothing panicked").take() {
            None => Ok(()),
            Some(untyped) => Err(format!("no type for {untyped}").into()),
        }
    }

    fn layout(&self, name: &str) -> Result<Arc<RollupLayout>> {
        let catalog = self.catalog.as_ref().ok_or("no model")?;
        let rollup = catalog.rollups.iter().find(|rollup| rollup.name.to_string() == name).ok_or("no such rollup")?;
        Ok(rollup.layout.clone()?)
    }

    fn trace(&self, sql: &str, declared: &str, values: &str) -> Result<Result<Trace, PlanError>> {
        let catalog = &policy::seen_by(self.catalog.as_ref().ok_or("no model")?, &self.identity);
        let query = match query_of(sql) {
            Ok(query) => query,
            Err(error) => return Ok(Err(error)),
        };
        let declared = listed(declared)
            .map(|name| {
                let Some(name) = name else { return Ok(None) };
                let sql_type = Parser::new(&PostgreSqlDialect {}).try_with_sql(&name)?.parse_data_type()?;
                Ok(Some(Arc::new(types::field_of(&sql_type)?.with_name("parameter"))))
            })
            .collect::<Result<Vec<Option<FieldRef>>>>()?;
        let zone = self.session.zone;
        let given: Vec<Option<String>> = listed(values).collect();
        let decode = |parameters: &[FieldRef]| -> Result<Vec<ScalarValue>, PlanError> {
            if given.len() != parameters.len() {
                let message = format!("bind= has {} values for {} parameters", given.len(), parameters.len());
                return Err(PlanError::internal(message));
            }
            let decoded = parameters.iter().zip(&given).map(|(field, text)| match text {
                None => {
                    ScalarValue::try_from(field.data_type()).map_err(|error| PlanError::internal(error.to_string()))
                }
                Some(text) => {
                    parse_literal(text, field.data_type(), field.metadata().get(PG_TYPE).map(String::as_str), &zone)
                        .map_err(|error| PlanError::new(error.sqlstate, error.message))
                }
            });
            decoded.collect()
        };
        Ok(Ok(pipeline::trace(query, catalog, &self.functions, &self.session, &declared, decode)))
    }
}

fn query_of(sql: &str) -> Result<Query, PlanError> {
    match parse::parse_one(sql)? {
        Statement::Query(query) => Ok(*query),
        other => Err(PlanError::internal(format!("{other} is not a query"))),
    }
}

/// The parts between `|`.
fn listed(text: &str) -> impl Iterator<Item = Option<String>> {
    let parts = if text.is_empty() { Vec::new() } else { text.split('|').collect() };
    parts.into_iter().map(|part| (part != "\\N").then(|| part.to_owned())).collect::<Vec<_>>().into_iter()
}

/// `a«b»c` with `b` as often as `times` says.
fn repeated(sql: &str, times: usize) -> String {
    let mut text = String::new();
    let mut rest = sql;
    while let Some((before, (inner, after))) =
        rest.split_once('«').and_then(|(before, after)| after.split_once('»').map(|parts| (before, parts)))
    {
        text.push_str(before);
        text.push_str(&inner.repeat(times));
        rest = after;
    }
    text + rest
}

/// The last rule of what a command asks for.
fn last_rule(command: &str) -> Result<Rule> {
    Ok(match command {
        "gate" => Rule::Gate,
        "name" => Rule::Name,
        "rewrite" => Rule::Rewrite,
        "bind" => Rule::CheckMeasures,
        "expand" => Rule::BuildLegs,
        "substitute" => Rule::Substitute,
        "lower" => Rule::LowerLegs,
        other => return Err(format!("unknown command {other}").into()),
    })
}

fn rule_named(name: &str) -> Result<Rule> {
    Ok(*Rule::ALL.iter().find(|rule| rule.name() == name).ok_or_else(|| format!("there is no rule {name}"))?)
}

impl goldenscript::Runner for Scripts {
    fn run(&mut self, command: &goldenscript::Command) -> Result<String> {
        let mut arguments = command.consume_args();
        match command.name.as_str() {
            "model" => {
                self.load(&arguments.next_pos().ok_or("a model's name is missing")?.value)?;
                arguments.reject_rest()?;
                return Ok(String::new());
            }
            "session" => {
                let zone = arguments.lookup("zone").ok_or("zone= is missing")?;
                self.session.zone = Zone::parse(&zone.value)?;
                arguments.reject_rest()?;
                return Ok(String::new());
            }
            "built" => {
                let name = arguments.next_pos().ok_or("a rollup's name is missing")?.value.clone();
                let mut stored = (Vec::new(), Cover::default(), 0_i64);
                let mut coarser = HashMap::new();
                for argument in arguments.rest_key() {
                    match argument.key.as_deref().unwrap_or_default() {
                        "partitions" => {
                            for part in listed(&argument.value).flatten() {
                                let (range, rows) = part.split_once(':').ok_or("a partition has RANGE:ROWS")?;
                                let range = match range.split_once("..") {
                                    Some((start, end)) => {
                                        PartitionRange::Between { start: moment(start)?, end: moment(end)? }
                                    }
                                    None if range == "none" => PartitionRange::NoTime,
                                    None => PartitionRange::Whole,
                                };
                                stored.0.push(StoredPartition { range, rows: rows.parse()? });
                            }
                        }
                        // A name, and the rows of each partition.
                        "coarser" => {
                            let (index, rows) = argument.value.split_once(':').ok_or("a copy has INDEX:ROWS|ROWS")?;
                            let rows = listed(rows).flatten().map(|rows| Ok(rows.parse()?)).collect::<Result<_>>()?;
                            coarser.insert(index.to_owned(), rows);
                        }
                        "from" => stored.1.from = Some(moment(&argument.value)?),
                        "to" => stored.1.to = Some(moment(&argument.value)?),
                        "age" => stored.2 = argument.parse()?,
                        other => return Err(format!("unknown argument {other}=").into()),
                    }
                }
                arguments.reject_rest()?;
                let layout = self.layout(&name)?;
                let (partitions, covers, age) = stored;
                let copies = layout.indexes.iter().filter_map(|index| {
                    let fields = |column: &RollupColumn| column.field.clone().with_name(&column.name);
                    let columns = index.coarser.as_ref()?.columns.iter().map(fields).collect::<Vec<_>>();
                    Some((index.name.clone(), Arc::new(Schema::new(columns))))
                });
                let built = StoredRollup {
                    zone: self.session.zone,
                    built_at: Some(self.session.now.timestamp_micros() - age * 1_000_000),
                    partitions,
                    covers,
                    is_whole: true,
                    coarser,
                    rows: Arc::new(Rows { layout: layout.schema(), coarser: copies.collect() }),
                };
                let catalog = self.catalog.as_mut().ok_or("no model")?;
                let with = catalog.rollups.with_stored(|rollup| {
                    let mut all = rollup.stored.clone();
                    if rollup.name.to_string() == name {
                        all = vec![built.clone()];
                    }
                    all
                });
                catalog.rollups = Arc::new(with);
                return Ok(String::new());
            }
            "rollups" => {
                let mut settings = RollupSettings::default();
                for argument in arguments.rest_key() {
                    match (argument.key.as_deref().unwrap_or_default(), argument.value.as_str()) {
                        ("usage", "preferred") => settings.usage = RollupUsage::Preferred,
                        ("usage", "off") => settings.usage = RollupUsage::Off,
                        ("usage", "required") => settings.usage = RollupUsage::Required,
                        ("choice", "first") => settings.choice = RollupChoice::First,
                        ("choice", "smallest") => settings.choice = RollupChoice::Smallest,
                        ("staleness", seconds) => {
                            settings.max_staleness = Some(seconds.parse::<i64>()? * 1_000_000);
                        }
                        (other, value) => return Err(format!("unknown argument {other}={value}").into()),
                    }
                }
                arguments.reject_rest()?;
                self.session.rollups = settings;
                return Ok(String::new());
            }
            "layout" => {
                let name = arguments.next_pos().ok_or("a rollup's name is missing")?.value.clone();
                arguments.reject_rest()?;
                let catalog = self.catalog.as_ref().ok_or("no model")?;
                let rollup = catalog.rollups.iter().find(|rollup| rollup.name.to_string() == name);
                return Ok(match &rollup.ok_or("no such rollup")?.layout {
                    Err(error) => format!("refused: {error}\n"),
                    Ok(layout) => {
                        let mut text = format!("root {}\n", layout.root);
                        for column in &layout.columns {
                            let shown = format!("{:?}", column.stores);
                            writeln!(text, "{} {}: {shown}", column.name, shown_type(&column.field))?;
                        }
                        for RollupIndex { name, columns, coarser } in &layout.indexes {
                            writeln!(text, "index {name} by {}", columns.join(", "))?;
                            for aggregate in coarser.iter().flat_map(|coarser| &coarser.aggregates) {
                                writeln!(text, "  {aggregate}")?;
                            }
                        }
                        text
                    }
                });
            }
            "user" => {
                self.identity = Identity::nobody(Zone::UTC);
                for argument in arguments.rest_key() {
                    match argument.key.as_deref().unwrap_or_default() {
                        "name" => self.identity.user = Some(argument.value.clone()),
                        "groups" => self.identity.groups = listed(&argument.value).flatten().collect(),
                        other => {
                            self.identity.attributes.insert(other.to_owned(), argument.value.clone());
                        }
                    }
                }
                arguments.reject_rest()?;
                return Ok(String::new());
            }
            _ => {}
        }
        let last = last_rule(&command.name)?;
        let mut sql = arguments.next_pos().ok_or("a statement is missing")?.value.clone();
        let (mut declared, mut values) = (String::new(), String::new());
        let (mut fires, mut silent) = (Vec::new(), Vec::new());
        for argument in arguments.rest_key() {
            match argument.key.as_deref().unwrap_or_default() {
                "declared" => declared.clone_from(&argument.value),
                "bind" => values.clone_from(&argument.value),
                "fires" => fires.push(rule_named(&argument.value)?),
                "silent" => silent.push(rule_named(&argument.value)?),
                "repeat" => sql = repeated(&sql, argument.parse()?),
                other => return Err(format!("unknown argument {other}=").into()),
            }
        }
        arguments.reject_rest()?;
        let trace = match self.trace(&sql, &declared, &values)? {
            Ok(trace) => trace,
            Err(error) => return Ok(shown_error("parse", &error, &sql)),
        };
        let refused = trace.refused_by();
        for rule in fires {
            if refused != Some(rule) && !trace.steps.iter().any(|step| step.rule == rule && step.changed) {
                let why = trace.result.as_ref().err().map_or("it changed nothing".to_owned(), ToString::to_string);
                self.faults.push(format!("line {}: {} did not fire: {why}", command.line_number, rule.name()));
            }
        }
        for rule in silent {
            if !trace.steps.iter().any(|step| step.rule == rule && !step.changed) {
                let why = trace.result.as_ref().err().map_or("it changed the plan".to_owned(), ToString::to_string);
                self.faults.push(format!("line {}: {} was not silent: {why}", command.line_number, rule.name()));
            }
        }
        shown(&trace, last, &sql)
    }

    fn end_script(&mut self) -> Result<()> {
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults.join("\n").into()) }
    }
}

/// What there is after the rule `last`, or the refusal before it.
fn shown(trace: &Trace, last: Rule, sql: &str) -> Result<String> {
    let Some(step) = trace.steps.iter().find(|step| step.rule == last) else {
        let rule = trace.refused_by().map_or("?", Rule::name);
        let error = trace.result.as_ref().err().ok_or("a rule did not run")?;
        return Ok(shown_error(rule, error, sql));
    };
    let step_text = step.text.replace(belvedere_planner::name::UNIQUE_MARK, "~");
    if last.stage() <= Stage::Name || last == Rule::Rewrite {
        return Ok(step_text);
    }
    let mut text = String::new();
    if let Ok((bound, planned)) = &trace.result {
        let parameters: Vec<String> = bound.parameters.iter().map(|field| shown_type(field)).collect();
        if !parameters.is_empty() {
            writeln!(text, "parameters: {}", parameters.join(", "))?;
        }
        let columns = shown_columns(&bound.plan);
        writeln!(text, "{columns}")?;
        if shown_columns(&planned.plan) != columns {
            return Err(format!("{columns} became {}", shown_columns(&planned.plan)).into());
        }
        for notice in planned.notices.iter().filter(|_| last == Rule::LowerLegs) {
            writeln!(text, "NOTICE: {notice}")?;
        }
        if planned.of_moment && last == Rule::LowerLegs {
            writeln!(text, "of this moment")?;
        }
    }
    writeln!(text, "{step_text}")?;
    if let Err(error) = &trace.result {
        text.push_str(&shown_error("what follows", error, sql));
    }
    if let (Rule::Substitute, Ok((_, planned))) = (last, &trace.result) {
        for used in &planned.rollups.used {
            let index = used.index.iter().map(|index| format!(", index {index}")).collect::<String>();
            let (read, all) = (used.partitions_read, used.partitions);
            writeln!(text, "uses {}{index}, {read} of {all} partitions", used.rollup)?;
        }
        for refused in &planned.rollups.refused {
            writeln!(text, "not {}: {}", refused.rollup, refusals::sentence(&refused.reason)?)?;
        }
    }
    if let (Rule::LowerLegs, Ok((_, planned))) = (last, &trace.result) {
        scans_in(&planned.plan, &mut text)?;
    }
    if text.contains("\n\n") {
        return Err(format!("a golden text cannot have an empty line: {text}").into());
    }
    Ok(text)
}

fn scans_in(plan: &LogicalPlan, text: &mut String) -> datafusion_common::Result<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = scan.source.downcast_ref::<Table>()
        {
            let _ = writeln!(text, "{} = {}", scan.table_name, table.sql);
        }
        if let Some(below) = RowBarrier::below(node) {
            scans_in(below, text)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(drop)
}

fn shown_columns(plan: &LogicalPlan) -> String {
    let columns: Vec<String> = plan
        .schema()
        .fields()
        .iter()
        .map(|field| format!("{} {}", belvedere_planner::name::shown(field.name()), shown_type(field)))
        .collect();
    format!("columns: {}", columns.join(", "))
}

fn shown_type(field: &Field) -> String {
    let data_type = match field.data_type() {
        DataType::Timestamp(_, None) => "Timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "Timestamptz".to_owned(),
        other => other.to_string(),
    };
    match field.metadata().get(PG_TYPE) {
        Some(name) => format!("{data_type}({name})"),
        None => data_type,
    }
}

fn shown_error(rule: &str, error: &PlanError, sql: &str) -> String {
    let mut text = format!("{rule} refuses: {error}\n");
    if let Some(position) = error.position_in(sql) {
        let rest: String = sql.chars().skip(position - 1).take(30).collect();
        let _ = writeln!(text, "AT {position}: {}", rest.lines().next().unwrap_or_default());
    }
    text
}

fn run(script: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts").join(script);
    goldenscript::run(&mut Scripts::new(), path)?;
    Ok(())
}

macro_rules! scripts {
    ($($name:ident: $path:literal,)*) => {
        $(
            #[test]
            fn $name() -> Result<()> {
                run($path)
            }
        )*

        /// Scripts that no test runs would rot.
        #[test]
        fn every_script_is_run() -> Result<()> {
            let mut listed = vec![$($path.to_owned()),*];
            listed.sort();
            let mut found = Vec::new();
            for stage in ["gate", "name", "bind", "expand", "substitute", "lower"] {
                for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts").join(stage))? {
                    found.push(format!("{stage}/{}", entry?.file_name().to_string_lossy()));
                }
            }
            found.sort();
            assert_eq!(listed, found);
            Ok(())
        }
    };
}

scripts! {
    rollups_answer_what_they_hold: "substitute/match_rollup",
    rollups_are_joined_on_their_keys: "substitute/match_rollup_join",
    lambdas_leave_no_gap: "substitute/match_lambda",
    each_rule_of_matching_is_kept: "substitute/pm_rules",
    each_refusal_has_its_sentence: "substitute/refusals",
    the_worked_matches_and_their_opposites: "substitute/worked_matches",
    conditions_on_time_read_what_they_name: "substitute/time_conditions",
    coarser_copies_answer_what_they_hold: "substitute/indexes",
    stored_rows_stand_for_a_cube: "substitute/base_rows",
    only_constructs_on_the_list_pass: "gate/gate",
    limits_hold_before_the_parser_recurses: "gate/parse",
    columns_are_named_as_postgresql_names_them: "name/name",
    syntax_gets_one_meaning: "bind/rewrite",
    names_are_resolved_or_refused_with_a_hint: "bind/context",
    operators_are_postgresqls: "bind/operators",
    open_types_are_taken_from_their_place: "bind/unknown",
    parameters_are_typed_as_postgresql_types_them: "bind/parameters",
    custom_granularities_are_bins: "bind/granularities",
    aggregates_that_match_are_the_measure: "bind/measures",
    what_lies_between_is_seen_through_or_not: "expand/absorb",
    aggregates_over_views_become_legs: "expand/build_legs",
    one_tree_connects_the_cubes: "expand/choose_join_tree",
    each_fact_has_a_leg_of_its_own: "expand/split_facts",
    each_grouping_set_is_a_question: "expand/grouping_sets",
    repeated_rows_are_not_added_up_for_an_outer_query: "expand/guard_fan_trap",
    stages_are_questions_asked_of_questions: "expand/stages",
    windows_join_a_dense_axis_of_time: "expand/rolling",
    ranges_are_told_from_other_conditions: "expand/time_range",
    default_filters_stand_in_for_conditions: "expand/default_filters",
    policies_stand_between_rows_and_the_user: "lower/guarded_rows",
    cubes_get_the_conditions_they_ask_for: "lower/asked_conditions",
    conditions_stand_in_the_sql_of_members: "lower/asked_members",
    calendars_shift_time_in_their_joins: "lower/mapped_times",
    a_leg_joins_filters_and_groups: "lower/lower_leg",
    rows_are_read_one_by_one: "lower/read_rows",
    member_values_are_written_over_base_columns: "lower/joined_rows",
    calculated_measures_stand_above_their_leaves: "lower/calculated",
    member_sql_is_rendered_and_split: "lower/members",
    time_is_shown_in_the_sessions_zone: "lower/zones",
    time_is_cut_once_and_by_its_calendar: "lower/granularities",
    measures_are_joined_to_the_rows_of_a_cube: "lower/sub_queries",
    each_role_of_a_cube_is_joined: "expand/roles",
    a_switch_is_pinned_or_grouped_by: "expand/pin_switches",
}
