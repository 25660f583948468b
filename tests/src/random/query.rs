//! A random query, and the text of it that Belvedere is asked.

use std::collections::BTreeSet;

use super::dice::Dice;
use super::world::{Fold, Formula, Kind, World};

/// Text with holes: every hole is a use of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<T>(pub Vec<Piece<T>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<T> {
    Words(String),
    Hole(T),
}

impl<T: Clone> Text<T> {
    /// `#0`, `#1` … in the template are replaced by the parts.
    pub fn fill(template: &str, parts: &[Self]) -> Self {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some(at) = rest.find('#') {
            pieces.push(Piece::Words(rest[..at].to_owned()));
            let digit = rest.as_bytes()[at + 1] - b'0';
            pieces.extend(parts[usize::from(digit)].0.iter().cloned());
            rest = &rest[at + 2..];
        }
        pieces.push(Piece::Words(rest.to_owned()));
        Self(pieces)
    }

    pub fn hole(value: T) -> Self {
        Self(vec![Piece::Hole(value)])
    }

    pub fn holes(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Words(_) => None,
            Piece::Hole(hole) => Some(hole),
        })
    }

    pub fn write(&self, mut hole: impl FnMut(&T) -> String) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Words(words) => words.clone(),
                Piece::Hole(value) => hole(value),
            })
            .collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Dimension(usize),
    Segment(usize),
    Measure(usize),
}

/// A column of what stands in FROM.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name there.
    pub name: String,
    /// The alias in FROM, by which alone two cubes' columns differ.
    pub alias: String,
    /// How the model gets there.
    pub path: Vec<usize>,
    pub cube: usize,
    pub role: Role,
}

#[derive(Debug, Clone)]
pub struct Scope {
    pub from: String,
    pub columns: Vec<Column>,
    /// A view with one root, all of whose paths begin there.
    pub view_root: Option<usize>,
    /// All cubes that stand in FROM, where cubes do.
    pub cubes: Vec<usize>,
    pub is_view: bool,
}

/// By index into the scope's columns.
pub type RowText = Text<usize>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aggregate {
    /// `MEASURE(column)` or the aggregate of the measure's own type: `#0` is the column.
    /// A filter on the measure's own cube may stand behind it.
    Measure {
        call: String,
        column: usize,
        filter: Option<RowText>,
    },
    /// An aggregate over a dimension.
    Dimension {
        fold: Fold,
        column: usize,
    },
    CountRows,
}

pub type GroupText = Text<Aggregate>;

/// How the same question is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    /// The columns come out of a sub-query, which has the filters.
    SubQuery,
    /// As a CTE.
    With,
    /// As `(SELECT * FROM …)`; of one view or cube only.
    Star,
    /// `SELECT DISTINCT`, without aggregates.
    Distinct,
    /// The rows as the joins give them; without aggregates.
    Ungrouped,
}

#[derive(Debug, Clone)]
pub struct Query {
    pub scope: Scope,
    pub form: Form,
    pub dimensions: Vec<RowText>,
    pub measures: Vec<GroupText>,
    /// ANDed.
    pub filters: Vec<RowText>,
    /// ANDed.
    pub having: Vec<GroupText>,
    /// A statement in which `@` stands for this query, whose columns are `d0…` and `m0…`.
    pub above: Option<String>,
    /// `(LIMIT, OFFSET)`; the rows are then ordered by all columns.
    pub limit: Option<(usize, usize)>,
}

impl Query {
    pub fn is_grouped(&self) -> bool {
        self.form != Form::Ungrouped
    }

    /// What the reference puts around its own text too.
    pub fn wrap(&self, inner: &str) -> String {
        let mut text = self.above.as_ref().map_or_else(|| inner.to_owned(), |above| above.replace('@', inner));
        if let Some((limit, offset)) = self.limit {
            let columns = self.dimensions.len() + self.measures.len();
            let keys: Vec<String> = (1..=columns)
                .map(|column| match column % 3 {
                    0 => format!("{column} DESC"),
                    1 => column.to_string(),
                    _ => format!("{column} DESC NULLS LAST"),
                })
                .collect();
            text = format!("{text} ORDER BY {} LIMIT {limit}", keys.join(", "));
            if offset > 0 {
                text = format!("{text} OFFSET {offset}");
            }
        }
        text
    }

    /// What Belvedere is asked.
    pub fn ours(&self) -> String {
        let direct = |column: &usize| {
            let column = &self.scope.columns[*column];
            format!("{}.{}", column.alias, column.name)
        };
        let used: Vec<usize> = self.outer_columns();
        let renamed = |column: &usize| {
            let place = used.iter().position(|other| other == column).expect("every outer column is listed");
            format!("k{place}")
        };
        let same = |column: &usize| self.scope.columns[*column].name.clone();
        let named: &dyn Fn(&usize) -> String = match self.form {
            Form::Plain | Form::Distinct | Form::Ungrouped => &direct,
            Form::SubQuery | Form::With => &renamed,
            Form::Star => &same,
        };
        let filters: Vec<String> = self.filters.iter().map(|filter| filter.write(direct)).collect();
        let filter = if filters.is_empty() { String::new() } else { format!(" WHERE {}", filters.join(" AND ")) };
        let inner = if self.form == Form::Star {
            format!("SELECT * FROM {}{filter}", self.scope.from)
        } else {
            let columns: Vec<String> =
                used.iter().enumerate().map(|(place, column)| format!("{} AS k{place}", direct(column))).collect();
            let columns = if columns.is_empty() { "1 AS one".to_owned() } else { columns.join(", ") };
            format!("SELECT {columns} FROM {}{filter}", self.scope.from)
        };
        let (with, from) = match self.form {
            Form::Plain | Form::Distinct | Form::Ungrouped => (String::new(), format!("{}{filter}", self.scope.from)),
            Form::SubQuery | Form::Star => (String::new(), format!("({inner}) AS q")),
            Form::With => (format!("WITH q AS ({inner}) "), "q".to_owned()),
        };
        let call = |aggregate: &Aggregate| match aggregate {
            Aggregate::Measure { call, column, filter: None } => call.replace("#0", &named(column)),
            Aggregate::Measure { call, column, filter: Some(filter) } => {
                format!("{} FILTER (WHERE {})", call.replace("#0", &named(column)), filter.write(named))
            }
            Aggregate::Dimension { fold, column } => fold_call(*fold, &named(column)),
            Aggregate::CountRows => "COUNT(*)".to_owned(),
        };
        let mut select: Vec<String> = Vec::new();
        for (place, dimension) in self.dimensions.iter().enumerate() {
            select.push(format!("{} AS d{place}", dimension.write(named)));
        }
        for (place, measure) in self.measures.iter().enumerate() {
            select.push(format!("{} AS m{place}", measure.write(call)));
        }
        let distinct = if self.form == Form::Distinct { "DISTINCT " } else { "" };
        let mut text = format!("{with}SELECT {distinct}{} FROM {from}", select.join(", "));
        if !self.dimensions.is_empty() && !matches!(self.form, Form::Distinct | Form::Ungrouped) {
            let places: Vec<String> = (1..=self.dimensions.len()).map(|place| place.to_string()).collect();
            text = format!("{text} GROUP BY {}", places.join(", "));
        }
        if !self.having.is_empty() {
            let having: Vec<String> = self.having.iter().map(|having| having.write(call)).collect();
            text = format!("{text} HAVING {}", having.join(" AND "));
        }
        self.wrap(&text)
    }

    fn outer_columns(&self) -> Vec<usize> {
        let mut columns: Vec<usize> = self.dimensions.iter().flat_map(|text| text.holes().copied()).collect();
        for aggregate in self.aggregates() {
            match aggregate {
                Aggregate::Measure { column, filter, .. } => {
                    columns.push(*column);
                    columns.extend(filter.iter().flat_map(Text::holes));
                }
                Aggregate::Dimension { column, .. } => columns.push(*column),
                Aggregate::CountRows => {}
            }
        }
        let mut seen = Vec::new();
        for column in columns {
            if !seen.contains(&column) {
                seen.push(column);
            }
        }
        seen
    }

    /// Of the select list, then of HAVING.
    pub fn aggregates(&self) -> impl Iterator<Item = &Aggregate> {
        self.measures.iter().chain(&self.having).flat_map(Text::holes)
    }
}

pub fn fold_call(fold: Fold, value: &str) -> String {
    match fold {
        Fold::Count => "COUNT(*)".to_owned(),
        Fold::CountSql => format!("COUNT({value})"),
        Fold::CountDistinct | Fold::CountDistinctApprox => format!("COUNT(DISTINCT {value})"),
        Fold::Sum => format!("SUM({value})"),
        Fold::Avg => format!("AVG({value})"),
        Fold::Min => format!("MIN({value})"),
        Fold::Max => format!("MAX({value})"),
    }
}

/// What a query is about: columns of the scope. Those that rollups store are told apart, so that they are asked for often enough.
#[derive(Debug, Clone)]
pub struct Focus {
    pub scope: Scope,
    pub rows: Vec<usize>,
    pub measures: Vec<usize>,
    /// Times, each with the granularity that it is stored by.
    pub times: Vec<(usize, &'static str)>,
    /// Stored times and dimensions that a query should group by as they are: all of the rollup's.
    pub exactly: Option<Vec<RowText>>,
    /// Those that are stored apart from the measures: a question that names one needs several rollups.
    pub far: Vec<usize>,
}

impl Focus {
    pub fn anything(dice: &mut Dice, world: &World) -> Self {
        let scope = scope(dice, world);
        let of_role = |is_measure: bool| -> Vec<usize> {
            let columns = scope.columns.iter().enumerate();
            let wanted = columns.filter(|(_, column)| matches!(column.role, Role::Measure(_)) == is_measure);
            wanted.map(|(index, _)| index).collect()
        };
        let (rows, measures) = (of_role(false), of_role(true));
        Self { scope, rows, measures, times: Vec::new(), exactly: None, far: Vec::new() }
    }
}

pub fn generate(dice: &mut Dice, world: &World) -> Query {
    let focus = Focus::anything(dice, world);
    generate_over(dice, world, &focus)
}

pub fn generate_over(dice: &mut Dice, world: &World, focus: &Focus) -> Query {
    let scope = focus.scope.clone();
    let is_stored = !focus.times.is_empty() || focus.exactly.is_some() || !focus.far.is_empty();
    let (rows, measures) = (focus.rows.clone(), focus.measures.clone());
    let is_dimension = |column: &usize| matches!(scope.columns[*column].role, Role::Dimension(_));
    let dimensions: Vec<usize> = rows.iter().copied().filter(is_dimension).collect();
    let mut query = Query {
        form: *dice.pick(&[
            Form::Plain,
            Form::Plain,
            Form::Plain,
            Form::Plain,
            Form::SubQuery,
            Form::With,
            Form::Star,
            Form::Distinct,
            Form::Ungrouped,
        ]),
        dimensions: Vec::new(),
        measures: Vec::new(),
        filters: Vec::new(),
        having: Vec::new(),
        above: None,
        limit: None,
        scope: scope.clone(),
    };
    // A star names all columns of all cubes.
    if query.form == Form::Star
        && (query.scope.cubes.len() > 1 || (query.scope.is_view && query.scope.view_root.is_none()))
    {
        query.form = Form::Plain;
    }
    // Of single rows no rollup knows.
    if is_stored && query.form == Form::Ungrouped && dice.chance(95) {
        query.form = Form::Plain;
    }
    let aggregated = !matches!(query.form, Form::Distinct | Form::Ungrouped) && !dice.chance(4);
    if let Some(exactly) = focus.exactly.as_ref().filter(|_| dice.chance(50)) {
        query.dimensions.clone_from(exactly);
        dice.shuffle(&mut query.dimensions);
    } else if !focus.times.is_empty() && dice.chance(50) {
        let (column, stored) = *dice.pick(&focus.times);
        query.dimensions.push(cut(dice, world, &query.scope, column, stored));
    }
    let has_all = focus.exactly.is_some() && !query.dimensions.is_empty();
    if !focus.times.is_empty() && dice.chance(65) {
        let (column, _) = *dice.pick(&focus.times);
        query.filters.push(time_range(dice, world, &query.scope, column));
    }
    if !focus.far.is_empty() && dice.chance(85) {
        let column = *dice.pick(&focus.far);
        match focus.times.iter().find(|(time, _)| *time == column) {
            Some((_, stored)) => query.dimensions.push(cut(dice, world, &query.scope, column, stored)),
            None if is_dimension(&column) && dice.chance(65) => {
                query.dimensions.push(value_of(dice, world, &query.scope, column));
            }
            None => query.filters.push(predicate(dice, world, &query.scope, &[column], 1)),
        }
    }
    let segments: Vec<usize> =
        rows.iter().copied().filter(|column| matches!(query.scope.columns[*column].role, Role::Segment(_))).collect();
    if is_stored && !segments.is_empty() && dice.chance(25) {
        let segment = *dice.pick(&segments);
        query.filters.push(predicate(dice, world, &query.scope, &[segment], 0));
    }
    let is_full = (has_all || !focus.far.is_empty()) && query.dimensions.len() >= 3;
    if !rows.is_empty() && !is_full {
        let count = match has_all {
            true => 0,
            false if focus.far.is_empty() => *dice.pick(&[0, 1, 1, 1, 2, 2, 3]),
            false => *dice.pick(&[0, 0, 1, 1, 2]),
        };
        let is_needed = !aggregated && query.dimensions.is_empty();
        for _ in 0..if is_needed { count.max(1) } else { count } {
            let column =
                if dimensions.is_empty() || dice.chance(8) { *dice.pick(&rows) } else { *dice.pick(&dimensions) };
            query.dimensions.push(value_of(dice, world, &query.scope, column));
        }
        let often: &[usize] = if is_stored { &[0, 0, 0, 0, 1, 1] } else { &[0, 0, 0, 0, 1, 1, 1, 2] };
        for _ in 0..*dice.pick(often) {
            let filter = predicate(dice, world, &query.scope, &rows, 2);
            // `FROM a CROSS JOIN b WHERE a.x = b.y` is a join of the statement's own.
            let aliases: BTreeSet<&String> = filter.holes().map(|column| &query.scope.columns[*column].alias).collect();
            let crosses = query.scope.from.contains("CROSS JOIN") && aliases.len() > 1;
            if !crosses {
                query.filters.push(filter);
            }
        }
    }
    if aggregated {
        let counts = query.form == Form::Plain;
        for _ in 0..*dice.pick(&[1, 1, 2, 2, 3, 4]) {
            let over: &[usize] = if is_stored && dice.chance(75) && !measures.is_empty() { &[] } else { &dimensions };
            if let Some(measure) = measure_text(dice, world, &query.scope, &measures, over, counts) {
                query.measures.push(measure);
            }
        }
        if dice.chance(18)
            && !query.measures.is_empty()
            && let Some(having) = having(dice, world, &query.scope, &measures)
        {
            query.having.push(having);
        }
    }
    if query.dimensions.is_empty() && query.measures.is_empty() {
        return generate_over(dice, world, focus);
    }
    if query.measures.is_empty() && query.form == Form::Star {
        query.form = Form::SubQuery;
    }
    if !query.dimensions.is_empty() && query.is_grouped() && query.form != Form::With && dice.chance(12) {
        let above = *dice.pick(&[
            "SELECT * FROM (@) AS o WHERE o.d0 IS NOT NULL",
            "SELECT * FROM (@) AS o WHERE o.d0 IS NULL",
            "SELECT COUNT(*), COUNT(DISTINCT o.d0) FROM (@) AS o",
        ]);
        query.above = Some(above.to_owned());
    } else if dice.chance(15) {
        query.limit = Some((dice.between(1, 4), if dice.chance(30) { dice.between(1, 2) } else { 0 }));
    }
    query
}

pub fn scope(dice: &mut Dice, world: &World) -> Scope {
    if dice.chance(65) && !world.views.is_empty() {
        let view = dice.pick(&world.views);
        let alias = if dice.chance(70) { view.name.clone() } else { "v".to_owned() };
        let from = if alias == view.name { alias.clone() } else { format!("{} AS {alias}", view.name) };
        let mut columns = Vec::new();
        for entry in &view.entries {
            let cube = *entry.path.last().expect("a path is not empty");
            for (name, shown) in &entry.members {
                columns.push(Column {
                    name: shown.clone(),
                    alias: alias.clone(),
                    path: entry.path.clone(),
                    cube,
                    role: role(world, cube, name),
                });
            }
        }
        let root = view.entries[0].path[0];
        let view_root = view.entries.iter().all(|entry| entry.path[0] == root).then_some(root);
        return Scope { from, columns, view_root, cubes: Vec::new(), is_view: true };
    }
    let mut cubes = vec![dice.below(world.cubes.len())];
    while cubes.len() < world.cubes.len() && dice.chance(60) {
        let cube = dice.below(world.cubes.len());
        if !cubes.contains(&cube) {
            cubes.push(cube);
        }
    }
    let alias = |place: usize| format!("t{place}");
    let mut from = String::new();
    let mut columns = Vec::new();
    let by_field = dice.chance(40);
    for (place, cube) in cubes.iter().enumerate() {
        let name = &world.cubes[*cube].name;
        match place {
            0 => from = format!("{name} AS t0"),
            _ if by_field => {
                let kind = dice.pick(&["JOIN", "LEFT JOIN", "INNER JOIN"]);
                from = format!("{from} {kind} {name} AS t{place} ON t0.__cubeJoinField = t{place}.__cubeJoinField");
            }
            _ => from = format!("{from} CROSS JOIN {name} AS t{place}"),
        }
        let definition = &world.cubes[*cube];
        let names = definition.dimensions.iter().map(|member| &member.name);
        let names = names.chain(definition.segments.iter().map(|member| &member.name));
        for name in names.chain(definition.measures.iter().map(|member| &member.name)) {
            columns.push(Column {
                name: name.clone(),
                alias: alias(place),
                path: vec![*cube],
                cube: *cube,
                role: role(world, *cube, name),
            });
        }
    }
    Scope { from, columns, view_root: None, cubes, is_view: false }
}

fn role(world: &World, cube: usize, name: &str) -> Role {
    let cube = &world.cubes[cube];
    if let Some(place) = cube.dimensions.iter().position(|member| member.name == name) {
        return Role::Dimension(place);
    }
    if let Some(place) = cube.segments.iter().position(|member| member.name == name) {
        return Role::Segment(place);
    }
    Role::Measure(cube.measures.iter().position(|member| member.name == name).expect("a member of the cube"))
}

/// Granularities, each with those whose buckets are made of whole ones of it, itself the first.
pub const NESTED: [(&str, &[&str]); 6] = [
    ("hour", &["hour", "day", "week", "month", "quarter", "year"]),
    ("day", &["day", "week", "month", "quarter", "year"]),
    ("week", &["week"]),
    ("month", &["month", "quarter", "year"]),
    ("quarter", &["quarter", "year"]),
    ("year", &["year"]),
];

/// `DATE_TRUNC` of a time, to a granularity that the stored one gives, now and then to any other.
fn cut(dice: &mut Dice, world: &World, scope: &Scope, column: usize, stored: &str) -> RowText {
    let nested = NESTED.iter().find(|(name, _)| *name == stored).map_or(&["month"][..], |(_, nested)| nested);
    let any = dice.pick(&NESTED).0;
    let unit = match stored {
        // Weeks make none of these, though a month has about four of them.
        "week" if dice.chance(55) => *dice.pick(&["month", "month", "month", "quarter", "year"]),
        _ if dice.chance(12) => any,
        _ => *dice.pick(nested),
    };
    truncated(world, scope, column, unit)
}

pub fn truncated(world: &World, scope: &Scope, column: usize, unit: &str) -> RowText {
    // PostgreSQL makes a timestamp with time zone of a date.
    let template = if kind(world, scope, column) == Kind::Date {
        format!("DATE_TRUNC('{unit}', CAST(#0 AS timestamp))")
    } else {
        format!("DATE_TRUNC('{unit}', #0)")
    };
    Text::fill(&template, &[Text::hole(column)])
}

/// Conditions on a time in all forms: on the edges of buckets and not, with and without NULLs.
fn time_range(dice: &mut Dice, world: &World, scope: &Scope, column: usize) -> RowText {
    let time = if kind(world, scope, column) == Kind::Date { "CAST(#0 AS timestamp)" } else { "#0" };
    let unit = dice.pick(&["day", "week", "month", "month", "quarter", "year"]);
    let start = match *unit {
        "day" => dice.pick(&["2024-02-29", "2024-02-01", "2024-01-31"]),
        "week" => dice.pick(&["2024-01-29", "2024-02-26", "2024-02-01"]),
        "month" => dice.pick(&["2024-01-01", "2024-02-01", "2024-03-01"]),
        _ => dice.pick(&["2024-01-01", "2023-01-01", "2024-02-01"]),
    };
    let edges = [
        "2024-01-01",
        "2024-02-01",
        "2024-03-01",
        "2024-01-29",
        "2024-02-29",
        "2024-04-01",
        "2023-12-31",
        "2024-01-31 23:59:59.999999",
        "2024-02-29 12:30:00",
        "2024-01-15",
    ];
    let mut pair = [*dice.pick(&edges), *dice.pick(&edges)];
    pair.sort_unstable();
    let [from, to] = pair;
    let compared = dice.pick(&[">=", "<", ">", "<=", "=", ">=", "<"]);
    let text = match dice.below(17) {
        0..=2 => format!("(#0 >= '{from}' AND #0 < '{to}')"),
        3 => format!("(#0 > '{from}' AND #0 <= '{to}')"),
        4 => format!("#0 BETWEEN '{from}' AND '{to}'"),
        5 => format!("DATE_TRUNC('{unit}', {time}) = '{start}'"),
        6 => format!("DATE_TRUNC('{unit}', {time}) {compared} '{start}'"),
        7 => format!("CAST(#0 AS date) {compared} '{start}'"),
        8 => format!("CAST(#0 AS date) BETWEEN '{}' AND '{}'", &from[..10], &to[..10]),
        9 => (*dice.pick(&[
            "EXTRACT(YEAR FROM #0) = 2024",
            "EXTRACT(MONTH FROM #0) IN (1, 2)",
            "EXTRACT(QUARTER FROM #0) = 1",
            "EXTRACT(DOW FROM #0) = 4",
            "EXTRACT(YEAR FROM #0) < 2024",
            "date_part('year', #0) >= 2024",
            "EXTRACT(YEAR FROM #0)::int BETWEEN 2023 AND 2024",
            "EXTRACT(YEAR FROM #0) IN (2022, 2023)",
            "EXTRACT(YEAR FROM #0) = 2024 AND EXTRACT(MONTH FROM #0) = 2",
            "DATE_TRUNC('month', CAST(#0 AS timestamp)) IN ('2024-01-01', '2024-03-01')",
            "CAST(#0 AS date) NOT BETWEEN '2024-01-31' AND '2024-02-15'",
        ]))
        .to_owned(),
        10 if dice.chance(50) => {
            format!("((#0 >= '{from}' AND #0 < '{to}') OR (#0 >= '2024-03-01' AND #0 < '2024-04-01'))")
        }
        10 => format!("(#0 < '{from}' OR #0 >= '{to}')"),
        11 => format!("(#0 IS NULL OR #0 >= '{from}')"),
        12 => format!("NOT (#0 >= '{from}')"),
        13 => (*dice.pick(&["#0 IS NULL", "#0 IS NOT NULL"])).to_owned(),
        14 => (*dice.pick(&[
            "#0 >= TIMESTAMPTZ '2024-02-01 00:00:00+00'",
            "#0 < TIMESTAMPTZ '2024-03-01 00:00:00'",
            "#0 <= TIMESTAMPTZ '2024-01-31 18:30:00-05'",
            "(#0 >= TIMESTAMPTZ '2024-01-01 00:00:00' AND #0 < TIMESTAMPTZ '2024-02-29 12:30:00+01')",
            "#0 BETWEEN TIMESTAMPTZ '2023-12-31 00:00:00' AND TIMESTAMPTZ '2024-02-01 00:00:00'",
            "#0 < now()",
            "#0 > now() - INTERVAL '30 years'",
        ]))
        .to_owned(),
        _ => format!("#0 {compared} '{from}'"),
    };
    Text::fill(&text, &[Text::hole(column)])
}

pub fn kind(world: &World, scope: &Scope, column: usize) -> Kind {
    let column = &scope.columns[column];
    match column.role {
        Role::Dimension(place) => world.cubes[column.cube].dimensions[place].kind,
        Role::Segment(_) => Kind::Bool,
        Role::Measure(place) => world.cubes[column.cube].measures[place].kind,
    }
}

/// A column, or an expression over it, to group by.
fn value_of(dice: &mut Dice, world: &World, scope: &Scope, column: usize) -> RowText {
    let plain: &[&str] = &["#0"];
    let templates: &[&str] = if dice.chance(60) {
        plain
    } else {
        match kind(world, scope, column) {
            Kind::Int => &["#0 + 1", "#0 % 2", "-#0", "COALESCE(#0, 0)", "CASE WHEN #0 > 1 THEN 'hi' ELSE 'lo' END"],
            Kind::Big => &["#0 - 1", "COALESCE(#0, 0)"],
            Kind::Numeric => &["#0 * 2", "ROUND(#0)", "#0 > 1.5", "COALESCE(#0, 0)"],
            Kind::Float => &["#0 * 2", "#0 IS NULL"],
            Kind::Text => &["UPPER(#0)", "COALESCE(#0, 'none')", "#0 || '!'", "#0 IS NULL", "#0 < 'b'"],
            Kind::Bool => &["NOT #0", "COALESCE(#0, false)", "#0 IS TRUE"],
            Kind::Time => &[
                "DATE_TRUNC('month', #0)",
                "DATE_TRUNC('day', #0)",
                "DATE_TRUNC('year', #0)",
                "DATE_TRUNC('week', #0)",
                "DATE_TRUNC('quarter', #0)",
                "DATE_TRUNC('hour', #0)",
                "EXTRACT(YEAR FROM #0)",
            ],
            Kind::Date => &["#0 IS NULL", "EXTRACT(MONTH FROM #0)"],
        }
    };
    Text::fill(dice.pick::<&str>(templates), &[Text::hole(column)])
}

fn predicate(dice: &mut Dice, world: &World, scope: &Scope, rows: &[usize], depth: usize) -> RowText {
    if depth > 0 && dice.chance(35) {
        let parts = [predicate(dice, world, scope, rows, depth - 1), predicate(dice, world, scope, rows, depth - 1)];
        // AND at the top makes two conditions, each of which restricts the facts that it reaches.
        let inner = ["(#0 OR #1)", "(#0 OR #1)", "NOT (#0)", "NOT (#0 OR #1)", "(#0 AND #1)"];
        return Text::fill(dice.pick::<&str>(&inner[..if depth == 2 { 4 } else { 5 }]), &parts);
    }
    let column = *dice.pick(rows);
    let of = kind(world, scope, column);
    if matches!(of, Kind::Time | Kind::Date) && dice.chance(60) {
        return time_range(dice, world, scope, column);
    }
    if dice.chance(8) {
        let same: Vec<usize> = rows.iter().copied().filter(|other| kind(world, scope, *other) == of).collect();
        let other = *dice.pick(&same);
        let template = if of == Kind::Bool { "#0 = #1" } else { "(#0 >= #1)" };
        return Text::fill(template, &[Text::hole(column), Text::hole(other)]);
    }
    let templates: &[&str] = match of {
        Kind::Int | Kind::Big => &[
            "#0 = 2",
            "#0 <> 2",
            "#0 > 1",
            "#0 BETWEEN 1 AND 3",
            "#0 IN (1, 3)",
            "#0 NOT IN (1, 2)",
            "#0 IS NULL",
            "#0 IS NOT NULL",
            "COALESCE(#0, 0) < 2",
            "#0 + 1 < 4",
        ],
        Kind::Numeric => &["#0 = 1.5", "#0 >= 1.50", "#0 < 2.25", "#0 <> 10", "#0 IS NULL", "#0 IN (1.5, 10)"],
        Kind::Float => &["#0 > 0.5", "#0 <= 1.25", "#0 IS NOT NULL"],
        Kind::Text => &[
            "#0 = 'a'",
            "#0 <> 'a'",
            "#0 IN ('a', 'b', 'k1')",
            "#0 NOT IN ('a', 'k2')",
            "#0 LIKE 'a%'",
            "#0 ILIKE 'A%'",
            "#0 LIKE '%y'",
            "#0 < 'b'",
            "#0 >= 'A'",
            "#0 IS NULL",
            "#0 IS NOT NULL",
            "UPPER(#0) = 'A'",
            "COALESCE(#0, 'none') = 'none'",
        ],
        Kind::Bool => &["#0", "NOT #0", "#0 IS TRUE", "#0 IS NOT TRUE", "#0 = false", "#0 IS NULL"],
        Kind::Time => &[
            "#0 >= '2024-02-01'",
            "#0 < '2024-02-01 00:00:00'",
            "#0 BETWEEN '2024-01-01' AND '2024-02-29 12:30:00'",
            "DATE_TRUNC('month', #0) = '2024-02-01'",
            "EXTRACT(YEAR FROM #0) = 2024",
            "#0 IS NULL",
            "#0 IS NOT NULL",
        ],
        Kind::Date => &["#0 >= '2024-02-01'", "#0 = '2024-02-29'", "#0 < '2024-02-01'", "#0 IS NULL"],
    };
    Text::fill(dice.pick::<&str>(templates), &[Text::hole(column)])
}

/// A call of a measure, in any of the ways that its type allows.
fn call(dice: &mut Dice, world: &World, scope: &Scope, column: usize) -> Aggregate {
    let Role::Measure(place) = scope.columns[column].role else { unreachable!("only measures are called") };
    let own = match &world.cubes[scope.columns[column].cube].measures[place].formula {
        Formula::Calculated { .. } => None,
        Formula::Leaf { fold, .. } => Some(match fold {
            Fold::Count | Fold::CountSql => *dice.pick(&["COUNT(#0)", "SUM(#0)"]),
            Fold::CountDistinct | Fold::CountDistinctApprox => "COUNT(DISTINCT #0)",
            Fold::Sum => "SUM(#0)",
            Fold::Avg => "AVG(#0)",
            Fold::Min => "MIN(#0)",
            Fold::Max => "MAX(#0)",
        }),
    };
    let call = own.filter(|_| dice.chance(40)).unwrap_or("MEASURE(#0)");
    let cube = (scope.columns[column].cube, &scope.columns[column].path);
    let rows: Vec<usize> = (0..scope.columns.len())
        .filter(|other| (scope.columns[*other].cube, &scope.columns[*other].path) == cube)
        .filter(|other| !matches!(scope.columns[*other].role, Role::Measure(_)))
        .collect();
    let filter =
        (own.is_some() && !rows.is_empty() && dice.chance(10)).then(|| predicate(dice, world, scope, &rows, 1));
    Aggregate::Measure { call: call.to_owned(), column, filter }
}

fn measure_text(
    dice: &mut Dice,
    world: &World,
    scope: &Scope,
    measures: &[usize],
    dimensions: &[usize],
    counts: bool,
) -> Option<GroupText> {
    if measures.is_empty() || (dice.chance(10) && !dimensions.is_empty()) {
        if dimensions.is_empty() {
            return None;
        }
        let column = *dice.pick(dimensions);
        let kind = kind(world, scope, column);
        let folds: &[Fold] = if kind.is_number() {
            &[Fold::Sum, Fold::Avg, Fold::Min, Fold::Max, Fold::CountSql, Fold::CountDistinct]
        } else if kind == Kind::Bool {
            &[Fold::CountSql, Fold::CountDistinct]
        } else {
            &[Fold::Min, Fold::Max, Fold::CountSql, Fold::CountDistinct]
        };
        return Some(Text::hole(Aggregate::Dimension { fold: *dice.pick(folds), column }));
    }
    if counts && dice.chance(6) {
        return Some(Text::hole(Aggregate::CountRows));
    }
    let column = *dice.pick(measures);
    let first = call(dice, world, scope, column);
    if kind(world, scope, column).is_number() && dice.chance(15) {
        let numbers: Vec<usize> =
            measures.iter().copied().filter(|other| kind(world, scope, *other).is_number()).collect();
        let other = *dice.pick(&numbers);
        let second = call(dice, world, scope, other);
        let template = dice.pick(&["#0 + #1", "COALESCE(#0, 0)", "#0 * 2", "1.0 * #0 / NULLIF(#1, 0)", "#0 IS NULL"]);
        return Some(Text::fill(template, &[Text::hole(first), Text::hole(second)]));
    }
    Some(Text::hole(first))
}

fn having(dice: &mut Dice, world: &World, scope: &Scope, measures: &[usize]) -> Option<GroupText> {
    let numbers: Vec<usize> =
        measures.iter().copied().filter(|column| kind(world, scope, *column).is_number()).collect();
    if numbers.is_empty() {
        return None;
    }
    let column = *dice.pick(&numbers);
    let aggregate = call(dice, world, scope, column);
    let template = dice.pick(&["#0 > 1", "#0 >= 1", "#0 = 0", "#0 IS NULL", "#0 < 4", "#0 IS NOT NULL", "#0 <> 2"]);
    Some(Text::fill(template, &[Text::hole(aggregate)]))
}

/// What `COUNT(*)` counts where a tree has this root: a measure of the root (by place), or the joined rows.
pub enum Counted {
    Measure(usize),
    Rows,
}

/// `None` where a view leaves out the root's count, and says nothing about it by that.
pub fn counts_rows(world: &World, scope: &Scope, root: usize) -> Option<Counted> {
    let is_plain =
        |formula: &Formula| matches!(formula, Formula::Leaf { fold: Fold::Count, filter: None, foreign: None, .. });
    match world.cubes[root].measures.iter().position(|measure| is_plain(&measure.formula)) {
        None => Some(Counted::Rows),
        Some(measure) => {
            let shown = scope.columns.iter().any(|column| column.cube == root && column.role == Role::Measure(measure));
            shown.then_some(Counted::Measure(measure))
        }
    }
}
