//! A random world: cubes with columns, rows, members and joins, and views over them.
//!
//! The rows obey what the joins declare: a "one" side is unique. Foreign keys are NULL or dangle now and then, tables may be empty.

use super::dice::Dice;
use super::rollups::Rollup;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Big,
    Numeric,
    Float,
    Text,
    Bool,
    Time,
    Date,
}

impl Kind {
    /// As PostgreSQL names it.
    pub fn sql_type(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::Big => "bigint",
            Self::Numeric => "numeric(10,2)",
            Self::Float => "double precision",
            Self::Text => "text",
            Self::Bool => "boolean",
            Self::Time => "timestamp",
            Self::Date => "date",
        }
    }

    /// As a model names it.
    pub fn member_type(self) -> &'static str {
        match self {
            Self::Int | Self::Big | Self::Numeric | Self::Float => "number",
            Self::Text => "string",
            Self::Bool => "boolean",
            Self::Time | Self::Date => "time",
        }
    }

    pub fn is_number(self) -> bool {
        self.member_type() == "number"
    }
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

/// Member SQL is text in which `$` stands for the cube's alias.
#[derive(Debug, Clone)]
pub struct Dimension {
    pub name: String,
    pub sql: String,
    pub kind: Kind,
    pub is_key: bool,
    /// For a sub-query dimension what the model says in place of the SQL, which is a correlated sub-query then: a reference to a measure.
    pub sub_query: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Segment {
    pub name: String,
    pub sql: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fold {
    /// Rows of the cube.
    Count,
    /// Values that are not NULL.
    CountSql,
    CountDistinct,
    /// Exact for as few values as there are here.
    CountDistinctApprox,
    Sum,
    Avg,
    Min,
    Max,
}

/// A condition of a measure on a dimension of a cube that its own cube is joined to, of which a row has one at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    pub join: usize,
    pub dimension: usize,
    /// `#` stands for the dimension.
    pub condition: String,
}

#[derive(Debug, Clone)]
pub enum Formula {
    /// An aggregate over the cube's own rows. `sql` is empty for [`Fold::Count`].
    Leaf { fold: Fold, sql: String, filter: Option<String>, foreign: Option<Foreign> },
    /// `#0`, `#1` in the text stand for the measures.
    Calculated { text: String, of: Vec<(usize, usize)> },
}

#[derive(Debug, Clone)]
pub struct Measure {
    pub name: String,
    pub formula: Formula,
    /// The kind of its values; of a calculated one only that it is a number counts.
    pub kind: Kind,
}

#[derive(Debug, Clone, Default)]
pub struct Cube {
    pub name: String,
    pub columns: Vec<Column>,
    /// How many of the first columns are the primary key.
    pub keys: usize,
    pub rows: Vec<Vec<Option<String>>>,
    pub dimensions: Vec<Dimension>,
    pub segments: Vec<Segment>,
    pub measures: Vec<Measure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    ManyToOne,
    OneToMany,
    OneToOne,
}

/// A directed edge, declared by `from`.
#[derive(Debug, Clone)]
pub struct Join {
    pub from: usize,
    pub to: usize,
    pub relation: Relation,
    /// Columns that must be equal: of `from`, of `to`.
    pub pairs: Vec<(String, String)>,
    /// The target's side is written as a member (`{to.id}`), else as a column (`{to}.id`).
    pub by_member: bool,
}

/// One `cubes:` entry of a view.
#[derive(Debug, Clone)]
pub struct Entry {
    pub path: Vec<usize>,
    /// `prefix: true`, with this alias.
    pub prefix: Option<String>,
    /// `includes: '*'`.
    pub everything: bool,
    /// Names of members and what the view calls them.
    pub members: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub struct View {
    pub name: String,
    pub entries: Vec<Entry>,
}

/// Where a cube's table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Postgres,
    Maria,
    Files,
}

/// A row filter of a cube's access policy: as the model has it, and as SQL over the cube's rows.
#[derive(Debug, Clone)]
pub struct RowFilter {
    /// YAML flow maps; all must hold.
    pub filters: Vec<String>,
    /// Member SQL, see [`Dimension`].
    pub sql: String,
    /// The dimensions that it tests.
    pub members: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct World {
    /// Of each cube.
    pub sources: Vec<Source>,
    /// The tables' names end in it, so that many worlds share a database.
    pub number: usize,
    /// The session's time zone, where it is not UTC.
    pub zone: Option<&'static str>,
    pub cubes: Vec<Cube>,
    pub joins: Vec<Join>,
    pub views: Vec<View>,
    /// Of each cube, for everyone; a row is seen if any of them lets it through. Without any there is no policy.
    pub policies: Vec<Vec<RowFilter>>,
    /// What [`super::rollups`] invented.
    pub rollups: Vec<Rollup>,
}

impl World {
    pub fn table(&self, cube: usize) -> String {
        format!("{}_{}", self.cubes[cube].name, self.number)
    }

    /// Whether any row filter stands between the tables and the queries.
    pub fn is_restricted(&self) -> bool {
        self.policies.iter().any(|policies| !policies.is_empty())
    }

    /// The joins that `cube` declares.
    pub fn joins_of(&self, cube: usize) -> impl Iterator<Item = (usize, &Join)> {
        self.joins.iter().enumerate().filter(move |(_, join)| join.from == cube)
    }
}

const NAMES: [&str; 6] = ["apples", "boats", "cats", "dogs", "eggs", "figs"];

pub fn generate(seed: u64, number: usize) -> World {
    let dice = &mut Dice::new(seed);
    let count = dice.between(3, 6);
    let several: &[Source] = match dice.below(10) {
        0..=3 => &[Source::Postgres],
        4 => &[Source::Maria],
        5 => &[Source::Files],
        6..=8 => &[Source::Postgres, Source::Maria],
        _ => &[Source::Postgres, Source::Maria, Source::Files],
    };
    let sources = (0..count).map(|_| *dice.pick(several)).collect();
    let zone = if dice.chance(35) { Some(*dice.pick(&["Europe/Berlin", "America/New_York"])) } else { None };
    let mut world = World {
        sources,
        zone,
        number,
        cubes: Vec::new(),
        joins: Vec::new(),
        views: Vec::new(),
        policies: Vec::new(),
        rollups: Vec::new(),
    };
    for name in &NAMES[..count] {
        world.cubes.push(bare_cube(dice, name));
    }
    relate(dice, &mut world);
    for cube in 0..count {
        fill_members(dice, &mut world, cube);
    }
    for cube in 0..count {
        add_sub_query(dice, &mut world, cube);
    }
    for cube in 0..count {
        add_foreign_filter(dice, &mut world, cube);
        add_calculated(dice, &mut world, cube);
    }
    add_views(dice, &mut world);
    add_policies(seed, &mut world);
    world
}

/// A cube with its key and its rows' own values; foreign keys come with the joins.
fn bare_cube(dice: &mut Dice, name: &str) -> Cube {
    let mut cube = Cube { name: name.to_owned(), ..Cube::default() };
    let text_key = dice.chance(15);
    cube.columns.push(Column { name: "id".to_owned(), kind: if text_key { Kind::Text } else { Kind::Int } });
    cube.keys = 1;
    if dice.chance(20) {
        cube.columns.push(Column { name: "line".to_owned(), kind: Kind::Int });
        cube.keys = 2;
    }
    for index in 0..dice.between(2, 5) {
        // Most facts have a time.
        let is_time = index == 0 && dice.chance(55);
        let any = *dice.pick(&[
            Kind::Int,
            Kind::Int,
            Kind::Numeric,
            Kind::Numeric,
            Kind::Text,
            Kind::Text,
            Kind::Bool,
            Kind::Time,
            Kind::Time,
            Kind::Time,
            Kind::Date,
            Kind::Float,
            Kind::Big,
        ]);
        let kind = if is_time { Kind::Time } else { any };
        cube.columns.push(Column { name: format!("c{index}"), kind });
    }
    let rows = if dice.chance(5) { 0 } else { dice.between(2, 18) };
    for row in 0..rows {
        let mut values = Vec::new();
        for (index, column) in cube.columns.iter().enumerate() {
            values.push(match (index < cube.keys, cube.keys) {
                // The parts of a key of two repeat, the pair does not.
                (true, 2) => {
                    let part = if index == 0 { row / 3 + 1 } else { row % 3 + 1 };
                    Some(key_value(column.kind, part))
                }
                (true, _) => Some(key_value(column.kind, row + 1)),
                (false, _) => value(dice, column.kind),
            });
        }
        cube.rows.push(values);
    }
    cube
}

fn key_value(kind: Kind, number: usize) -> String {
    if kind == Kind::Text { format!("k{number}") } else { number.to_string() }
}

fn value(dice: &mut Dice, kind: Kind) -> Option<String> {
    if dice.chance(18) {
        return None;
    }
    let few: &[&str] = match kind {
        Kind::Int => &["0", "1", "2", "3", "-2", "7"],
        Kind::Big => &["0", "1", "5", "3000000000", "-4"],
        Kind::Numeric => &["0.00", "1.50", "2.25", "10.00", "-3.10", "1.50"],
        // Sums of these are exact in any order.
        Kind::Float => &["0", "0.5", "1.25", "-2.75", "8"],
        Kind::Text => &["a", "A", "b", "ä", "x y", "o'k", "B"],
        Kind::Bool => &["true", "false"],
        Kind::Time if dice.chance(2) => &["1969-12-31 18:00:00"],
        // About the edges of hours, days, weeks (a Monday: 2024-01-29), months, quarters and years, also where a zone moves them.
        Kind::Time => &[
            "2024-01-31 23:59:59.999999",
            "2024-02-01 00:00:00",
            "2024-02-29 12:30:00",
            "2024-02-29 12:59:59.999999",
            "2024-03-31 01:30:00",
            "2024-03-01 00:00:00",
            "2023-12-31 10:00:00",
            "2023-12-31 23:30:00",
            "2024-01-01 00:00:00",
            "2024-01-28 23:59:59.999999",
            "2024-01-29 00:00:00",
        ],
        Kind::Date => &["2024-01-31", "2024-02-29", "2024-03-04", "2023-12-31"],
    };
    Some((*dice.pick(few)).to_owned())
}

/// Joins as a tree over all cubes, of one of several shapes; now and then one more edge.
fn relate(dice: &mut Dice, world: &mut World) {
    let count = world.cubes.len();
    match dice.below(4) {
        // Facts over shared dimensions; what is left hangs on any of them.
        0 => {
            let facts = if count >= 5 { dice.between(2, 3) } else { 2 };
            let shared = if count - facts >= 2 && dice.chance(60) { 2 } else { 1 };
            for fact in 0..facts {
                for one in facts..facts + shared {
                    link(dice, world, fact, one, Some(Relation::ManyToOne));
                }
            }
            for cube in facts + shared..count {
                let other = dice.below(cube);
                hang(dice, world, cube, other);
            }
        }
        // A hub that many others point to, declared by the hub; what is left hangs on any of them.
        1 => {
            let spokes = dice.between(2, (count - 1).min(3));
            for spoke in 1..=spokes {
                link(dice, world, spoke, 0, Some(Relation::OneToMany));
            }
            for cube in spokes + 1..count {
                let other = dice.below(cube);
                hang(dice, world, cube, other);
            }
        }
        // A chain that fans out, or in, or both.
        2 => {
            for cube in 1..count {
                hang(dice, world, cube, cube - 1);
            }
        }
        _ => {
            for cube in 1..count {
                let other = dice.below(cube);
                hang(dice, world, cube, other);
            }
        }
    }
    if dice.chance(12) {
        let (many, one) = (dice.below(count), dice.below(count));
        let linked =
            world.joins.iter().any(|join| (join.from, join.to) == (many, one) || (join.from, join.to) == (one, many));
        if many != one && !linked {
            link(dice, world, many, one, None);
        }
    }
}

fn hang(dice: &mut Dice, world: &mut World, cube: usize, other: usize) {
    match dice.below(10) {
        0..=4 => link(dice, world, cube, other, None),
        5..=8 => link(dice, world, other, cube, None),
        _ => link_one_to_one(dice, world, cube, other),
    }
}

/// Gives `many` a foreign key to `one`, and declares the join on one side, seldom on both.
fn link(dice: &mut Dice, world: &mut World, many: usize, one: usize, declared: Option<Relation>) {
    let pairs = foreign_key(dice, world, many, one, false);
    let back: Vec<(String, String)> = pairs.iter().map(|(a, b)| (b.clone(), a.clone())).collect();
    let (many_side, one_side) = match declared {
        Some(Relation::ManyToOne) => (true, dice.chance(4)),
        Some(Relation::OneToMany) => (dice.chance(4), true),
        _ => match dice.below(20) {
            0 => (true, true),
            1..=10 => (true, false),
            _ => (false, true),
        },
    };
    if many_side {
        let by_member = dice.chance(50);
        world.joins.push(Join { from: many, to: one, relation: Relation::ManyToOne, pairs, by_member });
    }
    if one_side {
        world.joins.push(Join { from: one, to: many, relation: Relation::OneToMany, pairs: back, by_member: false });
    }
}

fn link_one_to_one(dice: &mut Dice, world: &mut World, from: usize, to: usize) {
    // The foreign key may lie on either side of the declaration.
    if dice.chance(50) {
        let pairs = foreign_key(dice, world, from, to, true);
        world.joins.push(Join { from, to, relation: Relation::OneToOne, pairs, by_member: dice.chance(50) });
    } else {
        let pairs = foreign_key(dice, world, to, from, true);
        let pairs = pairs.into_iter().map(|(a, b)| (b, a)).collect();
        world.joins.push(Join { from, to, relation: Relation::OneToOne, pairs, by_member: false });
    }
}

/// Adds to `holder` the columns of a key of `target`; `unique` ones repeat no key.
fn foreign_key(
    dice: &mut Dice,
    world: &mut World,
    holder: usize,
    target: usize,
    unique: bool,
) -> Vec<(String, String)> {
    let keys: Vec<Column> = world.cubes[target].columns[..world.cubes[target].keys].to_vec();
    let mut targets: Vec<Vec<Option<String>>> =
        world.cubes[target].rows.iter().map(|row| row[..keys.len()].to_vec()).collect();
    dice.shuffle(&mut targets);
    let target_name = world.cubes[target].name.clone();
    for (dangling, row) in (91..).zip(world.cubes[holder].rows.iter_mut()) {
        let mut reference: Vec<Option<String>> = if dice.chance(10) || targets.is_empty() {
            keys.iter().map(|key| Some(key_value(key.kind, dangling))).collect()
        } else if unique {
            targets.pop().expect("not empty")
        } else {
            // Some are pointed to by many.
            let often = if dice.chance(60) { targets.len().min(2) } else { targets.len() };
            dice.pick(&targets[..often]).clone()
        };
        for part in &mut reference {
            if dice.chance(9) {
                *part = None;
            }
        }
        row.extend(reference);
    }
    let mut pairs = Vec::new();
    for key in keys {
        let name = format!("f_{target_name}_{}", key.name);
        pairs.push((name.clone(), key.name));
        world.cubes[holder].columns.push(Column { name, kind: key.kind });
    }
    pairs
}

fn fill_members(dice: &mut Dice, world: &mut World, index: usize) {
    let shifts = world.zone.is_some();
    let cube = &mut world.cubes[index];
    let keys = cube.keys;
    for (place, column) in cube.columns.clone().into_iter().enumerate() {
        let is_key = place < keys;
        if is_key || dice.chance(85) {
            let sql = format!("$.{}", column.name);
            cube.dimensions.push(Dimension { name: column.name, sql, kind: column.kind, is_key, sub_query: None });
        }
    }
    if dice.chance(50) {
        let column = dice.pick(&cube.columns).clone();
        let (sql, kind) = derived(dice, &column);
        cube.dimensions.push(Dimension { name: "e0".to_owned(), sql, kind, is_key: false, sub_query: None });
    }
    for number in 0..dice.below(3) {
        let column = dice.pick(&cube.columns).clone();
        let sql = condition(dice, &column);
        cube.segments.push(Segment { name: format!("s{number}"), sql });
    }
    // Every cube counts its rows, so that it can be a fact.
    let mut measures =
        vec![Measure { name: "count".to_owned(), formula: leaf(Fold::Count, String::new(), None), kind: Kind::Big }];
    if dice.chance(15) {
        measures.clear();
    }
    for number in 0..dice.between(1, 5) {
        let column = dice.pick(&cube.columns).clone();
        let mut folds = vec![Fold::CountSql, Fold::CountDistinct, Fold::CountDistinctApprox, Fold::Count];
        if column.kind.is_number() {
            folds.extend([Fold::Sum, Fold::Sum, Fold::Sum, Fold::Avg, Fold::Avg, Fold::Min, Fold::Max]);
        } else if column.kind != Kind::Bool && !(shifts && column.kind == Kind::Time) {
            // What a measure's own MIN of a stored time is in another zone is not said.
            folds.extend([Fold::Min, Fold::Max]);
        }
        let fold = *dice.pick(&folds);
        // A count of rows without a filter is the one above.
        let filter = (fold == Fold::Count || dice.chance(20)).then(|| {
            let filtered = dice.pick(&cube.columns).clone();
            condition(dice, &filtered)
        });
        let sql = match fold {
            Fold::Count => String::new(),
            _ if column.kind == Kind::Int && dice.chance(20) => format!("$.{} * 2", column.name),
            _ => format!("$.{}", column.name),
        };
        let kind = match fold {
            Fold::Count | Fold::CountSql | Fold::CountDistinct | Fold::CountDistinctApprox => Kind::Big,
            Fold::Sum | Fold::Avg if column.kind != Kind::Float => Kind::Numeric,
            Fold::Sum | Fold::Avg | Fold::Min | Fold::Max => column.kind,
        };
        measures.push(Measure { name: format!("m{number}"), formula: leaf(fold, sql, filter), kind });
    }
    cube.measures = measures;
}

fn leaf(fold: Fold, sql: String, filter: Option<String>) -> Formula {
    Formula::Leaf { fold, sql, filter, foreign: None }
}

fn derived(dice: &mut Dice, column: &Column) -> (String, Kind) {
    let name = format!("$.{}", column.name);
    match column.kind {
        Kind::Int => match dice.below(2) {
            0 => (format!("{name} + 1"), Kind::Int),
            _ => (format!("CASE WHEN {name} > 1 THEN 'hi' ELSE 'lo' END"), Kind::Text),
        },
        Kind::Big => (format!("COALESCE({name}, 0)"), Kind::Big),
        Kind::Numeric => (format!("CASE WHEN {name} > 1.5 THEN 'hi' WHEN {name} <= 1.5 THEN 'lo' END"), Kind::Text),
        Kind::Float => (format!("CASE WHEN {name} > 1 THEN 1 ELSE 0 END"), Kind::Int),
        Kind::Text => (format!("COALESCE({name}, 'none')"), Kind::Text),
        Kind::Bool => (format!("CASE WHEN {name} THEN 'yes' ELSE 'no' END"), Kind::Text),
        Kind::Time | Kind::Date => (format!("CASE WHEN {name} < '2024-02-01' THEN 'old' ELSE 'new' END"), Kind::Text),
    }
}

/// A condition over one column that PostgreSQL and MariaDB read alike.
fn condition(dice: &mut Dice, column: &Column) -> String {
    let name = format!("$.{}", column.name);
    match column.kind {
        _ if dice.chance(12) => format!("{name} IS NOT NULL"),
        Kind::Int | Kind::Big => match dice.below(3) {
            0 => format!("{name} > 1"),
            1 => format!("{name} = 2 OR {name} = 0"),
            _ => format!("{name} <> 3"),
        },
        Kind::Numeric | Kind::Float => format!("{name} >= 1.5"),
        // No other value is equal to these in a collation that ignores case and accents.
        Kind::Text => format!("{name} IN ('x y', 'k1', 'k3')"),
        Kind::Bool => name,
        Kind::Time | Kind::Date => format!("{name} >= '2024-02-01'"),
    }
}

/// A dimension with the value of a measure of a cube that this one joins.
fn add_sub_query(dice: &mut Dice, world: &mut World, index: usize) {
    let near: Vec<Join> = world.joins_of(index).map(|(_, join)| join.clone()).collect();
    if near.is_empty() || dice.chance(55) {
        return;
    }
    let join = dice.pick(&near);
    let other = &world.cubes[join.to];
    let leaves: Vec<&Measure> =
        other.measures.iter().filter(|measure| matches!(measure.formula, Formula::Leaf { .. })).collect();
    if leaves.is_empty() {
        return;
    }
    let measure = *dice.pick(&leaves);
    let Formula::Leaf { fold, sql, filter, .. } = &measure.formula else { return };
    let value = sql.replace('$', "q");
    let aggregate = match fold {
        // Of the rows that the join finds: `q.id` is there on each of them.
        Fold::Count => "COUNT(*)".to_owned(),
        Fold::CountSql => format!("COUNT({value})"),
        Fold::CountDistinct | Fold::CountDistinctApprox => format!("COUNT(DISTINCT {value})"),
        Fold::Sum => format!("SUM({value})"),
        Fold::Avg => format!("AVG({value})"),
        Fold::Min => format!("MIN({value})"),
        Fold::Max => format!("MAX({value})"),
    };
    let filter =
        filter.as_ref().map_or_else(String::new, |filter| format!(" FILTER (WHERE {})", filter.replace('$', "q")));
    let on: Vec<String> = join.pairs.iter().map(|(from, to)| format!("q.{to} = $.{from}")).collect();
    let sql = format!("SELECT {aggregate}{filter} FROM {} AS q WHERE {}", world.table(join.to), on.join(" AND "));
    let dimension = Dimension {
        name: "q0".to_owned(),
        sql: format!("({sql})"),
        kind: measure.kind,
        is_key: false,
        sub_query: Some(format!("{{{}.{}}}", other.name, measure.name)),
    };
    world.cubes[index].dimensions.push(dimension);
}

fn add_foreign_filter(dice: &mut Dice, world: &mut World, index: usize) {
    let near: Vec<usize> = world
        .joins_of(index)
        .filter(|(_, join)| join.relation != Relation::OneToMany)
        .map(|(place, _)| place)
        .collect();
    if near.is_empty() || dice.chance(60) {
        return;
    }
    let join = *dice.pick(&near);
    let dimensions = &world.cubes[world.joins[join].to].dimensions;
    let dimension = dice.below(dimensions.len());
    let conditions: &[&str] = if dimensions[dimension].kind.is_number() {
        &["# > 1", "# IS NULL", "# < 3"]
    } else {
        &["# IS NULL", "# IS NOT NULL"]
    };
    let foreign = Foreign { join, dimension, condition: (*dice.pick(conditions)).to_owned() };
    let column = dice.pick(&world.cubes[index].columns).clone();
    let (fold, sql, kind) = match column.kind {
        Kind::Int | Kind::Big | Kind::Numeric => (Fold::Sum, format!("$.{}", column.name), Kind::Numeric),
        _ => (Fold::Count, String::new(), Kind::Big),
    };
    let formula = Formula::Leaf { fold, sql, filter: None, foreign: Some(foreign) };
    world.cubes[index].measures.push(Measure { name: "f0".to_owned(), formula, kind });
}

fn add_calculated(dice: &mut Dice, world: &mut World, index: usize) {
    for number in 0..dice.below(3) {
        let other = if dice.chance(30) { dice.below(world.cubes.len()) } else { index };
        let leaves = |cube: usize| -> Vec<(usize, usize)> {
            let measures = world.cubes[cube].measures.iter().enumerate();
            measures.filter(|(_, measure)| measure.kind.is_number()).map(|(place, _)| (cube, place)).collect()
        };
        // A calculated measure of another cube may be asked too; one of its own must be there already.
        let (own, others) = (leaves(index), leaves(other));
        if own.is_empty() || others.is_empty() {
            continue;
        }
        let (a, b) = (*dice.pick(&own), *dice.pick(&others));
        let (a, b) = if dice.chance(20) { (b, a) } else { (a, b) };
        let texts = [
            "#0 + #1",
            "#0 - COALESCE(#1, 0)",
            "COALESCE(#0, 0) + COALESCE(#1, 0)",
            "CASE WHEN #0 > 1 THEN #1 ELSE 0 END",
            "1.0 * #0 / NULLIF(#1, 0)",
            "#0 / NULLIF(#1, 0)",
        ];
        // A quotient has the meaning of the cube's own database.
        let text = *dice.pick(&texts[..if world.sources[index] == Source::Maria { 4 } else { 6 }]);
        let formula = Formula::Calculated { text: text.to_owned(), of: vec![a, b] };
        world.cubes[index].measures.push(Measure { name: format!("r{number}"), formula, kind: Kind::Numeric });
    }
}

/// Every third world has row filters on some of its cubes. They are rolled apart, so that the rest of a world is the same without.
fn add_policies(seed: u64, world: &mut World) {
    let dice = &mut Dice::new(seed ^ 0x90_11C7);
    for cube in &world.cubes {
        let mut policies = Vec::new();
        if seed.is_multiple_of(3) && dice.chance(60) {
            for _ in 0..if dice.chance(25) { 2 } else { 1 } {
                let mut policy = RowFilter { filters: Vec::new(), sql: String::new(), members: Vec::new() };
                let mut conditions = Vec::new();
                for _ in 0..if dice.chance(25) { 2 } else { 1 } {
                    let (member, filter, condition) = row_filter(dice, cube);
                    policy.members.push(member);
                    policy.filters.push(filter);
                    conditions.push(condition);
                }
                policy.sql = conditions.join(" AND ");
                policies.push(policy);
            }
        }
        world.policies.push(policies);
    }
}

/// The dimension that it tests, the filter as the model has it, and as SQL.
fn row_filter(dice: &mut Dice, cube: &Cube) -> (String, String, String) {
    // A filter reads sub-query dimensions over all rows, a query over those that are seen.
    let of_rows: Vec<&Dimension> = cube.dimensions.iter().filter(|dimension| dimension.sub_query.is_none()).collect();
    let dimension = *dice.pick(&of_rows);
    let sql = format!("({})", dimension.sql);
    let filters: &[(&str, &str)] = match dimension.kind {
        _ if dice.chance(10) => &[("set", "# IS NOT NULL"), ("notSet", "# IS NULL")],
        Kind::Int | Kind::Big => &[
            ("equals, values: [1, 2, 3]", "# IN (1, 2, 3)"),
            ("notEquals, values: [1]", "(# <> 1 OR # IS NULL)"),
            ("notEquals, values: [2, null]", "# <> 2"),
            ("gt, values: [1]", "# > 1"),
            ("lte, values: [2]", "# <= 2"),
        ],
        Kind::Numeric | Kind::Float => &[("gte, values: [1.5]", "# >= 1.5"), ("lt, values: [2]", "# < 2")],
        Kind::Text => &[
            (
                "equals, values: [a, B, hi, k1, k2, k3, 'yes', new]",
                "# IN ('a', 'B', 'hi', 'k1', 'k2', 'k3', 'yes', 'new')",
            ),
            ("equals, values: [a, null]", "(# = 'a' OR # IS NULL)"),
            ("notEquals, values: [a, lo, k2]", "(# NOT IN ('a', 'lo', 'k2') OR # IS NULL)"),
            ("contains, values: [B, \"'\", k]", "(# ILIKE '%b%' OR # LIKE '%''%' OR # ILIKE '%k%')"),
            ("notStartsWith, values: [A]", "(# NOT ILIKE 'a%' OR # IS NULL)"),
        ],
        Kind::Bool => &[("equals, values: [true]", "#"), ("notEquals, values: [true]", "(NOT # OR # IS NULL)")],
        Kind::Time | Kind::Date => &[
            ("afterOrOnDate, values: [2024-02-01]", "# >= '2024-02-01'"),
            ("beforeOrOnDate, values: [2024-02-29]", "# < '2024-03-01'"),
            ("inDateRange, values: [2024-01-31, 2024-02-29]", "(# >= '2024-01-31' AND # < '2024-03-01')"),
            ("notInDateRange, values: [2024-02-01, 2024-12-31]", "(# < '2024-02-01' OR # >= '2025-01-01')"),
            ("onTheDate, values: [2024-02-29]", "(# >= '2024-02-29' AND # < '2024-03-01')"),
        ],
    };
    let (filter, condition) = *dice.pick(filters);
    let name = dimension.name.clone();
    (name.clone(), format!("{{ member: {name}, operator: {filter} }}"), condition.replace('#', &sql))
}

fn add_views(dice: &mut Dice, world: &mut World) {
    for number in 0..3 {
        let mut roots = vec![dice.below(world.cubes.len())];
        // Several roots: any other cubes, those with more joins of their own more often.
        if dice.chance(55) {
            for cube in 0..world.cubes.len() {
                if !roots.contains(&cube) && dice.chance(55) {
                    roots.push(cube);
                }
            }
        }
        let several = roots.len() > 1;
        let mut entries = Vec::new();
        // No cube twice: a query could not say which of two paths to it is meant.
        let mut seen = roots.clone();
        for root in &roots {
            grow(dice, world, vec![*root], &mut seen, &mut entries, several);
        }
        if several {
            dice.shuffle(&mut entries);
        }
        for entry in &mut entries {
            let cube = &world.cubes[*entry.path.last().expect("a path is not empty")];
            if several || entry.path.len() > 1 {
                entry.prefix = Some(if dice.chance(30) { cube.name[..2].to_owned() } else { cube.name.clone() });
            }
            let mut names: Vec<String> = cube.dimensions.iter().map(|member| member.name.clone()).collect();
            names.extend(cube.segments.iter().map(|member| member.name.clone()));
            names.extend(cube.measures.iter().map(|member| member.name.clone()));
            entry.everything = dice.chance(60);
            if !entry.everything {
                names = dice.some(&names, 80);
            }
            if names.is_empty() {
                entry.everything = true;
                names = cube.dimensions.iter().map(|member| member.name.clone()).collect();
                names.extend(cube.segments.iter().map(|member| member.name.clone()));
                names.extend(cube.measures.iter().map(|member| member.name.clone()));
            }
            entry.members = names
                .into_iter()
                .map(|name| {
                    let shown = entry.prefix.as_ref().map_or_else(|| name.clone(), |prefix| format!("{prefix}_{name}"));
                    (name, shown)
                })
                .collect();
        }
        world.views.push(View { name: format!("v{number}"), entries });
    }
}

/// The entry for `path`, and those of joins onwards from it.
fn grow(
    dice: &mut Dice,
    world: &World,
    path: Vec<usize>,
    seen: &mut Vec<usize>,
    entries: &mut Vec<Entry>,
    several: bool,
) {
    let last = *path.last().expect("a path is not empty");
    entries.push(Entry { path: path.clone(), prefix: None, everything: true, members: Vec::new() });
    let targets: Vec<usize> = world.joins_of(last).map(|(_, join)| join.to).collect();
    for target in targets {
        if !seen.contains(&target) && dice.chance(if several { 35 } else { 85 }) {
            seen.push(target);
            let mut longer = path.clone();
            longer.push(target);
            grow(dice, world, longer, seen, entries, several);
        }
    }
}
