//! Prepares a model's SQL at its sources: that gives every member its type, and finds mistakes before anyone queries.

use std::collections::HashMap;
use std::sync::Arc;

use belvedere_model::{Cube, Model, Place};
use belvedere_planner::catalog::{Catalog, SourceDialect, TypedExpr};
use belvedere_planner::functions::Functions;
use belvedere_planner::lower::joined_rows::Planning;
use belvedere_planner::member_types::numeric_type;
use belvedere_planner::members;
use belvedere_planner::tables::{self, BaseExpression};
use belvedere_planner::types::BARE_NUMERIC;
use belvedere_sources::SourceError;
use datafusion::arrow::datatypes::Field;

use crate::sources::{DataSourceKind, DataSources, TypedSources};

/// Something that a source said of the model.
#[derive(Debug, Clone)]
pub struct SourceProblem {
    pub cube: String,
    /// `dimension "x"` and the like; empty where the cube's relation is meant.
    pub member: String,
    pub place: Place,
    pub message: String,
    /// The source could not be asked, so nothing is known of the member.
    pub unreachable: bool,
}

/// A catalog with the types that the sources gave, and what they refused.
#[derive(Debug)]
pub struct LoadedCatalog {
    pub catalog: Catalog,
    pub problems: Vec<SourceProblem>,
}

/// Asks every source about its cubes.
///
/// A source that cannot be reached leaves its cubes with declared types, for the catalog; they cannot be queried.
pub async fn load_catalog(model: Arc<Model>, sources: Arc<DataSources>, functions: &Arc<Functions>) -> LoadedCatalog {
    let untyped = TypedSources { sources: Arc::clone(&sources), ..TypedSources::default() };
    let untyped = Catalog {
        model: Arc::clone(&model),
        tables: indexmap::IndexMap::new(),
        sources: Arc::new(untyped),
        policies: Arc::default(),
        hidden: Arc::default(),
        rollups: Arc::default(),
    };
    let expressions = tables::base_expressions(&untyped, functions);
    let mut types = HashMap::new();
    let mut problems = Vec::new();
    let mut unreachable: HashMap<String, String> = HashMap::new();
    for cube in model.cubes.values() {
        let Some(wanted) = expressions.get(&cube.naming.name) else { continue };
        let numerics = |typed: &mut HashMap<String, TypedExpr>, columns: &[Field]| {
            let session = tables::neutral_session();
            let (mentioned, notices, report, of_moment) = Default::default();
            let planning = Planning {
                catalog: &untyped,
                functions,
                session: &session,
                mentioned: &mentioned,
                notices: &notices,
                report: &report,
                of_moment: &of_moment,
                depth: 0,
                is_trusted: false,
            };
            for (sql, expression) in typed.iter_mut().filter(|(_, expression)| is_bare_numeric(expression)) {
                if let Some(derived) = numeric_type(planning, cube, sql, columns) {
                    expression.field = expression.field.clone().with_data_type(derived);
                }
            }
        };
        let result = match sources.get(&cube.data_source).map(|source| &source.kind) {
            None => {
                problems.push(SourceProblem {
                    cube: cube.naming.name.clone(),
                    member: String::new(),
                    place: cube.naming.place.clone(),
                    message: format!("data source \"{}\" is not configured", cube.data_source),
                    unreachable: false,
                });
                continue;
            }
            Some(DataSourceKind::Remote(source)) => {
                if let Some(reason) = unreachable.get(&cube.data_source) {
                    problems.push(unreachable_problem(cube, reason));
                    continue;
                }
                let mut result = describe_remote(&model, cube, source.as_ref(), wanted).await;
                if let Ok(described) = &mut result
                    && described.typed.values().any(is_bare_numeric)
                {
                    numerics(&mut described.typed, &relation_columns(&model, cube, source.as_ref()).await);
                }
                result
            }
            Some(DataSourceKind::Files(_)) => Ok(describe_files(&untyped, functions, cube, wanted)),
        };
        match result {
            Ok(Described { typed, refused }) => {
                types.insert(cube.naming.name.clone(), typed);
                problems.extend(refused);
            }
            Err(reason) => {
                problems.push(unreachable_problem(cube, &reason));
                unreachable.insert(cube.data_source.clone(), reason);
            }
        }
    }
    let typed = TypedSources { sources, types, untyped: unreachable.into_keys().collect() };
    LoadedCatalog { catalog: tables::catalog(model, Arc::new(typed), functions), problems }
}

fn unreachable_problem(cube: &Cube, reason: &str) -> SourceProblem {
    SourceProblem {
        cube: cube.naming.name.clone(),
        member: String::new(),
        place: cube.naming.place.clone(),
        message: reason.to_owned(),
        unreachable: true,
    }
}

struct Described {
    typed: HashMap<String, TypedExpr>,
    refused: Vec<SourceProblem>,
}

/// All expressions in one statement; only where that is refused, each on its own, to find the mistaken ones.
async fn describe_remote(
    model: &Model,
    cube: &Cube,
    source: &dyn belvedere_sources::RemoteSource,
    wanted: &[BaseExpression],
) -> Result<Described, String> {
    let dialect = match source.dialect() {
        belvedere_sources::Dialect::Postgres => SourceDialect::Postgres,
        belvedere_sources::Dialect::MySql => SourceDialect::MySql,
    };
    let mut described = Described { typed: HashMap::new(), refused: Vec::new() };
    let relation = match members::relation_sql(model, cube) {
        Ok(relation) => relation,
        // Using the cube says the same.
        Err(_) => return Ok(described),
    };
    let alias = dialect.quoted(members::alias_of(cube));
    let statement = |expressions: &[&BaseExpression]| {
        let items: Vec<String> = expressions
            .iter()
            .enumerate()
            .map(|(index, expression)| format!("{} AS c{index}", expression.column.sql))
            .collect();
        let items = if items.is_empty() { "1 AS c0".to_owned() } else { items.join(", ") };
        format!("SELECT {items} FROM {relation} AS {alias}")
    };
    let all: Vec<&BaseExpression> = wanted.iter().collect();
    match source.describe(&statement(&all)).await {
        Ok(columns) => {
            for (expression, column) in wanted.iter().zip(columns) {
                described.typed.insert(
                    expression.column.sql.clone(),
                    TypedExpr { field: column.field, compares_by_code_point: column.compares_by_code_point },
                );
            }
            return Ok(described);
        }
        Err(SourceError::Refused { .. }) => {}
        Err(other) => return Err(other.to_string()),
    }
    match source.describe(&statement(&[])).await {
        Ok(_) => {}
        Err(SourceError::Refused { message, .. }) => {
            described.refused.push(SourceProblem {
                cube: cube.naming.name.clone(),
                member: String::new(),
                place: relation_place(cube),
                message,
                unreachable: false,
            });
            return Ok(described);
        }
        Err(other) => return Err(other.to_string()),
    }
    for expression in wanted {
        match source.describe(&statement(&[expression])).await {
            Ok(columns) => {
                if let Some(column) = columns.into_iter().next() {
                    described.typed.insert(
                        expression.column.sql.clone(),
                        TypedExpr { field: column.field, compares_by_code_point: column.compares_by_code_point },
                    );
                }
            }
            Err(SourceError::Refused { message, .. }) => described.refused.push(SourceProblem {
                cube: cube.naming.name.clone(),
                member: expression.member.clone(),
                place: expression.place.clone(),
                message,
                unreachable: false,
            }),
            Err(other) => return Err(other.to_string()),
        }
    }
    Ok(described)
}

fn is_bare_numeric(expression: &TypedExpr) -> bool {
    *expression.field.data_type() == BARE_NUMERIC
}

/// The columns of the cube's relation; none where the source does not say.
async fn relation_columns(model: &Model, cube: &Cube, source: &dyn belvedere_sources::RemoteSource) -> Vec<Field> {
    let Ok(relation) = members::relation_sql(model, cube) else { return Vec::new() };
    match source.describe(&format!("SELECT * FROM {relation} AS t")).await {
        Ok(columns) => columns.into_iter().map(|column| column.field).collect(),
        Err(_) => Vec::new(),
    }
}

fn relation_place(cube: &Cube) -> Place {
    match &cube.relation {
        belvedere_model::Relation::Table(template) | belvedere_model::Relation::Query(template) => {
            template.place.clone()
        }
    }
}

/// The SQL of file cubes is ours: binding it gives the types.
fn describe_files(catalog: &Catalog, functions: &Arc<Functions>, cube: &Cube, wanted: &[BaseExpression]) -> Described {
    let session = tables::neutral_session();
    let (mentioned, notices, report, of_moment) = Default::default();
    let planning = Planning {
        catalog,
        functions,
        session: &session,
        mentioned: &mentioned,
        notices: &notices,
        report: &report,
        of_moment: &of_moment,
        depth: 0,
        is_trusted: false,
    };
    let mut described = Described { typed: HashMap::new(), refused: Vec::new() };
    let Ok(relation) = members::relation_sql(&catalog.model, cube) else { return described };
    let alias = SourceDialect::Files.quoted(members::alias_of(cube));
    let mut problem = |member: &str, place: &Place, message: String| {
        described.refused.push(SourceProblem {
            cube: cube.naming.name.clone(),
            member: member.to_owned(),
            place: place.clone(),
            message,
            unreachable: false,
        });
    };
    if let Err(error) =
        belvedere_planner::bind_text(planning, cube, &format!("SELECT 1 AS c0 FROM {relation} AS {alias}"))
    {
        problem("", &relation_place(cube), error.message);
        return described;
    }
    let mut typed = HashMap::new();
    for expression in wanted {
        let text = format!("SELECT ({}) AS c0 FROM {relation} AS {alias}", expression.column.sql);
        match belvedere_planner::bind_text(planning, cube, &text) {
            Ok(plan) => {
                let field = plan.schema().field(0).as_ref().clone();
                typed.insert(expression.column.sql.clone(), TypedExpr { field, compares_by_code_point: true });
            }
            Err(error) => problem(&expression.member, &expression.place, error.message),
        }
    }
    described.typed = typed;
    described
}
