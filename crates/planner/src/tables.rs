//! The tables that a model's public views and cubes are to SQL, with PostgreSQL's types.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use belvedere_model::{
    Cube, DimensionKind, DimensionValue, GranularityValue, Mask, MeasureKind, MemberKind, Model, View, ViewMember,
    ViewMemberValue,
};
use indexmap::IndexMap;

use crate::catalog::{BaseColumn, Catalog, MemberColumn, Sources, ViewTable};
use crate::error::{PlanError, Result};
use crate::expand::choose_join_tree::JoinTree;
use crate::functions::Functions;
use crate::lower::calculated::Leaves;
use crate::lower::joined_rows::{JoinedRows, Planning, Scope};
use crate::session::{RollupSettings, SessionFacts};
use crate::types;

/// Builds the catalog of a model.
///
/// A member whose type cannot be found (its source could not be asked, or it needs what is not executed yet) gets its declared
/// type: using it then fails with the reason.
#[must_use]
pub fn catalog(model: Arc<Model>, sources: Arc<dyn Sources>, functions: &Arc<Functions>) -> Catalog {
    let mut catalog = Catalog {
        model: Arc::clone(&model),
        tables: IndexMap::new(),
        sources,
        policies: Arc::default(),
        hidden: Arc::default(),
        rollups: Arc::default(),
    };
    let session = neutral_session();
    let mut tables = IndexMap::new();
    {
        let (mentioned, notices, report, of_moment) = Default::default();
        let planning = Planning {
            catalog: &catalog,
            functions,
            session: &session,
            mentioned: &mentioned,
            notices: &notices,
            report: &report,
            of_moment: &of_moment,
            depth: 0,
            is_trusted: false,
        };
        for view in model.views.values().filter(|view| view.naming.public) {
            tables.insert(view.naming.name.clone(), Arc::new(view_table(planning, view)));
        }
        for cube in model.cubes.values().filter(|cube| cube.naming.public) {
            tables.insert(cube.naming.name.clone(), Arc::new(cube_table(planning, cube)));
        }
    }
    catalog.tables = tables;
    catalog
}

/// A session for work that no user asked for: types do not depend on it.
#[must_use]
pub fn neutral_session() -> SessionFacts {
    SessionFacts {
        user: String::new(),
        database: String::new(),
        zone: belvedere_functions::Zone::UTC,
        now: chrono::DateTime::UNIX_EPOCH,
        rollups: RollupSettings::default(),
    }
}

fn view_table(planning: Planning<'_>, view: &View) -> ViewTable {
    let mut columns = IndexMap::new();
    for kind in [MemberKind::Dimension, MemberKind::Measure, MemberKind::Segment] {
        for (name, member) in view.members.iter().filter(|(_, member)| member.kind == kind) {
            if !member.naming.public {
                continue;
            }
            if let Some(column) = view_column(planning, view, name, member) {
                columns.insert(name.clone(), column);
            }
        }
    }
    let unsupported = if let Some(unsupported) = &view.unsupported {
        Some(unsupported.feature.clone())
    } else {
        unusable_cube(planning.catalog.model.as_ref(), columns.values().flat_map(|column| &column.path))
    };
    ViewTable::new(view.naming.name.clone(), columns, unsupported)
}

/// A cube with something that is not executed yet is refused wherever a view has it.
fn unusable_cube<'a>(model: &Model, cubes: impl Iterator<Item = &'a String>) -> Option<String> {
    cubes
        .filter_map(|cube| model.cubes.get(cube))
        .find_map(|cube| Some(format!("cube \"{}\" with {}", cube.naming.name, cube.unsupported.as_ref()?.feature)))
}

fn view_column(planning: Planning<'_>, view: &View, name: &str, member: &ViewMember) -> Option<MemberColumn> {
    let declared = match &member.value {
        ViewMemberValue::Included { path, member: included } => {
            let cube = planning.catalog.model.cubes.get(path.last()?)?;
            return Some(column(planning, cube, member.kind, path.clone(), included));
        }
        ViewMemberValue::OwnDimension(dimension) => declared_dimension(Some(dimension.kind)),
        ViewMemberValue::OwnMeasure(measure) => declared_measure(Some(measure.kind)),
    };
    let mut column = MemberColumn {
        kind: member.kind,
        path: Vec::new(),
        member: name.to_owned(),
        view: Some(view.naming.name.clone()),
        values_of: None,
        field: Field::new(name, declared, true),
        mask: None,
    };
    if let Ok(field) = own_member_field(planning, &column) {
        column.field = field.with_name(name).with_nullable(true);
    }
    Some(column)
}

/// The type of a member that a view defines itself.
fn own_member_field(planning: Planning<'_>, column: &MemberColumn) -> Result<Field> {
    let mut rows = JoinedRows::new(planning, JoinTree::of(""));
    match column.kind {
        MemberKind::Measure => {
            let mut leaves = Leaves::default();
            let value = rows.member_measure(column, None, &mut leaves)?;
            Ok(Field::new(&column.member, rows.measure_type(&value, &leaves)?, true))
        }
        MemberKind::Dimension | MemberKind::Segment => {
            let value = rows.row_member(column)?;
            let field = field_of(&rows, &value)?;
            let kind = column.dimension(&planning.catalog.model).map(|dimension| dimension.kind);
            Ok(wall_clock(kind, field))
        }
    }
}

/// A time dimension is wall-clock time in the session's zone, whatever the source stores.
fn wall_clock(kind: Option<DimensionKind>, field: Field) -> Field {
    match (kind, field.data_type()) {
        (Some(DimensionKind::Time), DataType::Timestamp(..)) => field.with_data_type(types::timestamp()),
        _ => field,
    }
}

fn cube_table(planning: Planning<'_>, cube: &Cube) -> ViewTable {
    let mut columns = IndexMap::new();
    let path = vec![cube.naming.name.clone()];
    for dimension in cube.dimensions.values().filter(|dimension| dimension.naming.public) {
        let name = &dimension.naming.name;
        columns.insert(name.clone(), column(planning, cube, MemberKind::Dimension, path.clone(), name));
    }
    for measure in cube.measures.values().filter(|measure| measure.naming.public) {
        let name = &measure.naming.name;
        columns.insert(name.clone(), column(planning, cube, MemberKind::Measure, path.clone(), name));
    }
    for segment in cube.segments.values().filter(|segment| segment.naming.public) {
        let name = &segment.naming.name;
        columns.insert(name.clone(), column(planning, cube, MemberKind::Segment, path.clone(), name));
    }
    let unsupported = unusable_cube(planning.catalog.model.as_ref(), path.iter());
    ViewTable::new(cube.naming.name.clone(), columns, unsupported)
}

/// A member of a cube as a column.
pub(crate) fn column(
    planning: Planning<'_>,
    cube: &Cube,
    kind: MemberKind,
    path: Vec<String>,
    member: &str,
) -> MemberColumn {
    let field = member_field(planning, cube, kind, member).unwrap_or_else(|_| declared(cube, kind, member));
    MemberColumn {
        kind,
        path,
        member: member.to_owned(),
        view: None,
        values_of: None,
        field: field.with_name(member).with_nullable(true),
        mask: None,
    }
}

/// The type that the member's plan has.
fn member_field(planning: Planning<'_>, cube: &Cube, kind: MemberKind, member: &str) -> Result<Field> {
    let cube = planning
        .catalog
        .model
        .cubes
        .get(&cube.naming.name)
        .ok_or_else(|| PlanError::internal("a cube that is not in the model"))?;
    // Types do not depend on joins: every cube that the member's SQL reaches may add its columns.
    let mut rows = JoinedRows::new(planning, JoinTree::of(&cube.naming.name));
    match kind {
        MemberKind::Segment => Ok(Field::new(member, DataType::Boolean, true)),
        MemberKind::Dimension => {
            let value = rows.dimension(std::slice::from_ref(&cube.naming.name), member)?;
            let field = field_of(&rows, &value)?;
            Ok(wall_clock(cube.dimensions.get(member).map(|dimension| dimension.kind), field))
        }
        MemberKind::Measure => {
            let measure =
                cube.measures.get(member).ok_or_else(|| PlanError::internal("a measure that is not in its cube"))?;
            let mut leaves = Leaves::default();
            let scope = Scope::Cube(rows.role(std::slice::from_ref(&cube.naming.name))?);
            let value = rows.measure(&scope, measure, None, &mut leaves, 0)?;
            Ok(Field::new(member, rows.measure_type(&value, &leaves)?, true))
        }
    }
}

fn field_of(rows: &JoinedRows<'_>, value: &datafusion_expr::Expr) -> Result<Field> {
    use datafusion_expr::ExprSchemable;
    let schema = rows.schema()?;
    value
        .to_field(&schema)
        .map(|(_, field)| field.as_ref().clone())
        .map_err(|error| crate::bind::errors::plan_error(error, &[]))
}

/// What the model says, where the source could not be asked.
fn declared(cube: &Cube, kind: MemberKind, member: &str) -> Field {
    let data_type = match kind {
        MemberKind::Segment => DataType::Boolean,
        MemberKind::Dimension => declared_dimension(cube.dimensions.get(member).map(|dimension| dimension.kind)),
        MemberKind::Measure => declared_measure(cube.measures.get(member).map(|measure| measure.kind)),
    };
    Field::new(member, data_type, true)
}

fn declared_dimension(kind: Option<DimensionKind>) -> DataType {
    match kind {
        Some(DimensionKind::Boolean) => DataType::Boolean,
        Some(DimensionKind::Number) => types::BARE_NUMERIC,
        Some(DimensionKind::Time) => DataType::Timestamp(TimeUnit::Microsecond, None),
        Some(DimensionKind::String | DimensionKind::Geo | DimensionKind::Switch) | None => DataType::Utf8,
    }
}

fn declared_measure(kind: Option<MeasureKind>) -> DataType {
    match kind {
        Some(
            MeasureKind::Count | MeasureKind::CountDistinct | MeasureKind::CountDistinctApprox | MeasureKind::Rank,
        ) => DataType::Int64,
        Some(MeasureKind::Boolean) => DataType::Boolean,
        Some(MeasureKind::Time) => DataType::Timestamp(TimeUnit::Microsecond, None),
        Some(MeasureKind::String) => DataType::Utf8,
        Some(
            MeasureKind::Sum
            | MeasureKind::Avg
            | MeasureKind::Min
            | MeasureKind::Max
            | MeasureKind::Number
            | MeasureKind::NumberAgg
            | MeasureKind::RunningTotal,
        )
        | None => types::BARE_NUMERIC,
    }
}

/// A row expression that a source must type and check, and the member that it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseExpression {
    /// As a query asks for it.
    pub column: BaseColumn,
    /// `dimension "x"`, `measure "y"`, `join to "z"`, for messages.
    pub member: String,
    pub place: belvedere_model::Place,
}

/// Every row expression of every cube, by cube: what the engine asks sources about when a model is loaded.
#[must_use]
pub fn base_expressions(catalog: &Catalog, functions: &Arc<Functions>) -> HashMap<String, Vec<BaseExpression>> {
    let session = neutral_session();
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
    let mut found: HashMap<String, Vec<BaseExpression>> = HashMap::new();
    for cube in catalog.model.cubes.values() {
        let tree = JoinTree::of(&cube.naming.name);
        let mut collect = |member: String, place: &belvedere_model::Place, rows: JoinedRows<'_>| {
            for (owner, column) in rows.base_columns() {
                let known = found.entry(owner.to_owned()).or_default();
                let is_known = |one: &BaseExpression| {
                    one.column.sql == column.sql && one.column.field.data_type() == column.field.data_type()
                };
                if !known.iter().any(is_known) {
                    let column = column.clone();
                    known.push(BaseExpression { column, member: member.clone(), place: place.clone() });
                }
            }
        };
        for (name, dimension) in &cube.dimensions {
            let mut rows = JoinedRows::new(planning, tree.clone());
            // What cannot be planned adds the columns that it got to; using it says why it cannot.
            let path = std::slice::from_ref(&cube.naming.name);
            let _: Result<_> = rows.dimension(path, name);
            if let Some(Mask::Sql(template)) = &dimension.details.mask
                && let Ok(role) = rows.role(path)
            {
                let _: Result<_> = rows.row_value(&role, template, dimension.kind == DimensionKind::Boolean, 0);
            }
            let place = match &dimension.value {
                DimensionValue::Sql(template) => &template.place,
                _ => &dimension.naming.place,
            };
            collect(format!("dimension \"{name}\""), place, rows);
            for sql in dimension.details.time_shifts.iter().filter_map(|shift| shift.sql.as_ref()) {
                let mut rows = JoinedRows::new(planning, tree.clone());
                let owner = rows.role(std::slice::from_ref(&cube.naming.name));
                let _: Result<_> = owner.and_then(|owner| rows.row_value(&owner, sql, false, 0));
                collect(format!("a time shift of dimension \"{name}\""), &sql.place, rows);
            }
            for (granularity, defined) in &dimension.granularities {
                let GranularityValue::Sql(template) = &defined.value else { continue };
                let mut rows = JoinedRows::new(planning, tree.clone());
                let owner = rows.role(std::slice::from_ref(&cube.naming.name));
                let _: Result<_> = owner.and_then(|owner| rows.row_value(&owner, template, false, 0));
                collect(format!("granularity \"{granularity}\" of dimension \"{name}\""), &template.place, rows);
            }
        }
        for (name, segment) in &cube.segments {
            let mut rows = JoinedRows::new(planning, tree.clone());
            let _: Result<_> = rows.segment(std::slice::from_ref(&cube.naming.name), name);
            collect(format!("segment \"{name}\""), &segment.sql.place, rows);
        }
        for (name, measure) in &cube.measures {
            let mut rows = JoinedRows::new(planning, tree.clone());
            let mut leaves = Leaves::default();
            let owner = rows.role(std::slice::from_ref(&cube.naming.name));
            let _: Result<_> = owner.and_then(|owner| {
                if let Some(Mask::Sql(template)) = &measure.details.mask {
                    let scope = Scope::Cube(owner.clone());
                    let _: Result<_> = rows.mask_by_sql(&scope, &measure.naming.name, template, None, &mut leaves);
                }
                rows.measure(&Scope::Cube(owner), measure, None, &mut leaves, 0)
            });
            let place = measure.sql.as_ref().map_or(&measure.naming.place, |template| &template.place);
            collect(format!("measure \"{name}\""), place, rows);
        }
        for join in &cube.joins {
            let mut rows = JoinedRows::new(planning, tree.clone());
            let _: Result<_> = rows.add_join_columns(&cube.naming.name, &join.target);
            collect(format!("join to \"{}\"", join.target), &join.sql.place, rows);
        }
    }
    found
}
