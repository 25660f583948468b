//! What MySQL and MariaDB compute with the meaning that we have here, which is PostgreSQL's.
//!
//! Far less than they have: `/` is decimal division and gives NULL for zero, decimals clip and round, strings turn into numbers, and
//! text is compared by the column's collation, mostly without regard to case, accents and trailing blanks.

use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use super::fragment::{Fragment, Piece};
use super::rules::{
    Aggregate, AggregateForm, Call, Comparison, Form, Function, Rules, SqlType, Term, alike, never, text_literal,
    texts, time_and_zone, travels,
};
use super::select::OrderKey;

pub(crate) struct MySql;

/// Longer lists stay here: MySQL's protocol counts parameters in 16 bits, and a list is sent twice for text.
const IN_LIST_MAX: usize = 1000;

const LOCALE: Form = Form::Silent("case folding depends on the collation of the column");
const CLIPS: Form = Form::Silent("decimals clip, quotients round, and x/0 is NULL");

static FUNCTIONS: &[Function] = &[
    // Operators of ours. MySQL computes every integer width in 64 bits: only int8 fails where PostgreSQL fails. The casts
    // are for columns that are unsigned at the source, whose differences would fail below zero.
    Function { name: "pg_add", takes: wide_integers, form: Form::Custom(|call| signed(call, " + ")) },
    Function { name: "pg_sub", takes: wide_integers, form: Form::Custom(|call| signed(call, " - ")) },
    Function { name: "pg_mul", takes: wide_integers, form: Form::Custom(|call| signed(call, " * ")) },
    Function { name: "pg_div", takes: never, form: CLIPS },
    Function { name: "pg_mod", takes: never, form: CLIPS },
    Function { name: "pg_neg", takes: never, form: CLIPS },
    Function { name: "pg_concat", takes: texts, form: Form::Custom(concat) },
    Function { name: "pg_like", takes: two_texts, form: Form::Custom(like_literal) },
    Function { name: "pg_not_like", takes: two_texts, form: Form::Custom(not_like_literal) },
    Function { name: "pg_ilike", takes: never, form: LOCALE },
    Function { name: "pg_cast", takes: one_known, form: Form::Custom(pg_cast) },
    // Functions.
    Function { name: "coalesce", takes: alike, form: Form::Custom(coalesce) },
    Function { name: "char_length", takes: texts, form: Form::Call("CHAR_LENGTH") },
    Function { name: "character_length", takes: texts, form: Form::Call("CHAR_LENGTH") },
    Function { name: "length", takes: texts, form: Form::Call("CHAR_LENGTH") },
    Function { name: "date_trunc", takes: unit_and_time, form: Form::Custom(date_trunc) },
    Function { name: "to_local", takes: time_and_zone, form: Form::Custom(to_local) },
    Function { name: "pg_date_trunc", takes: unit_and_time, form: Form::Custom(date_trunc) },
    Function { name: "belvedere_floor_minutes", takes: minutes_and_time, form: Form::Custom(floor_minutes) },
    Function { name: "lower", takes: never, form: LOCALE },
    Function { name: "upper", takes: never, form: LOCALE },
    Function { name: "nullif", takes: never, form: Form::Silent("compares by the collation of the column") },
];

static AGGREGATES: &[Aggregate] = &[
    Aggregate { name: "count", takes: to_int8, form: AggregateForm::Count },
    Aggregate { name: "pg_count", takes: to_int8, form: AggregateForm::Count },
    Aggregate { name: "sum", takes: summable, form: AggregateForm::Plain("SUM") },
    Aggregate { name: "pg_sum", takes: summable, form: AggregateForm::Plain("SUM") },
    Aggregate { name: "min", takes: extreme, form: AggregateForm::Extreme("MIN") },
    Aggregate { name: "max", takes: extreme, form: AggregateForm::Extreme("MAX") },
    Aggregate { name: "pg_min", takes: extreme, form: AggregateForm::Extreme("MIN") },
    Aggregate { name: "pg_max", takes: extreme, form: AggregateForm::Extreme("MAX") },
    Aggregate {
        name: "avg",
        takes: never_aggregated,
        form: AggregateForm::Silent("adds four digits and rounds there"),
    },
    Aggregate {
        name: "pg_avg",
        takes: never_aggregated,
        form: AggregateForm::Silent("adds four digits and rounds there"),
    },
];

impl Rules for MySql {
    fn null(&self, _: SqlType) -> Option<Fragment> {
        Some(Fragment::keyword("NULL"))
    }

    fn parameter(&self, value: &ScalarValue, ty: SqlType) -> Option<Fragment> {
        if !travels(value) {
            return None;
        }
        let parameter = Fragment::new().parameter(value.clone());
        let cast = |parameter: Fragment, to: &'static str| Fragment::new().sql("CAST(").then(&parameter).sql(to);
        Some(match ty {
            SqlType::Bool => match value {
                ScalarValue::Boolean(Some(true)) => Fragment::keyword("TRUE"),
                ScalarValue::Boolean(Some(false)) => Fragment::keyword("FALSE"),
                _ => return None,
            },
            SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => cast(parameter, " AS SIGNED)"),
            SqlType::Float8 => match value {
                // Neither NaN nor an infinity exists there.
                ScalarValue::Float64(Some(value)) if !value.is_finite() => return None,
                _ => cast(parameter, " AS DOUBLE)"),
            },
            SqlType::Numeric { precision, scale } if precision <= 65 && scale <= 30 => Fragment::new()
                .sql("CAST(")
                .then(&parameter)
                .sql(" AS DECIMAL(")
                .number(precision.into())
                .sql(",")
                .number(scale.into())
                .sql("))"),
            // Not cast: that would give it a collation of its own, at odds with the column's. A string is bound as a string.
            SqlType::Text => parameter,
            SqlType::Date => cast(parameter, " AS DATE)"),
            SqlType::Timestamp | SqlType::Timestamptz => cast(parameter, " AS DATETIME(6))"),
            SqlType::Numeric { .. } | SqlType::Float4 | SqlType::Bytes | SqlType::Time | SqlType::Other => {
                return None;
            }
        })
    }

    fn compare(&self, comparison: Comparison, left: &Term, right: &Term) -> Option<Fragment> {
        if !comparable(left.ty) || !left.ty.same_class(right.ty) {
            return None;
        }
        if left.ty == SqlType::Bool && comparison.is_ordering() {
            return None;
        }
        let (exact_left, exact_right) = if left.ty == SqlType::Text {
            // One explicit collation decides for both sides.
            match (as_parameter(left), as_parameter(right)) {
                (None, Some(_)) => (by_code_point(left), right.sql.clone()),
                (Some(_), None) => (left.sql.clone(), by_code_point(right)),
                _ => (exact(left), exact(right)),
            }
        } else {
            (left.sql.clone(), right.sql.clone())
        };
        let exactly = match comparison {
            Comparison::NotDistinctFrom => Fragment::infix(&exact_left, " <=> ", &exact_right),
            Comparison::DistinctFrom => {
                let equal = Fragment::infix(&exact_left, " <=> ", &exact_right);
                Fragment::new().sql("(NOT ").then(&equal).sql(")")
            }
            Comparison::Eq => Fragment::infix(&exact_left, " = ", &exact_right),
            Comparison::NotEq => Fragment::infix(&exact_left, " <> ", &exact_right),
            Comparison::Lt => Fragment::infix(&exact_left, " < ", &exact_right),
            Comparison::LtEq => Fragment::infix(&exact_left, " <= ", &exact_right),
            Comparison::Gt => Fragment::infix(&exact_left, " > ", &exact_right),
            Comparison::GtEq => Fragment::infix(&exact_left, " >= ", &exact_right),
        };
        // The column's own collation finds at least the rows that are exactly equal, and can use an index.
        let by_index = comparison == Comparison::Eq
            && match (left.sql.as_column(), as_parameter(right), as_parameter(left), right.sql.as_column()) {
                (Some(_), Some(value), ..) => !left.code_point && in_every_character_set(value),
                (.., Some(value), Some(_)) => !right.code_point && in_every_character_set(value),
                _ => false,
            };
        if !by_index {
            return Some(exactly);
        }
        let loosely = Fragment::infix(&left.sql, " = ", &right.sql);
        Some(Fragment::infix(&loosely, " AND ", &exactly))
    }

    fn in_list(&self, tested: &Term, items: &[ScalarValue], negated: bool) -> Option<Fragment> {
        if !comparable(tested.ty) || items.len() > IN_LIST_MAX {
            return None;
        }
        let by_index =
            tested.sql.as_column().is_some() && !tested.code_point && items.iter().all(in_every_character_set);
        let items: Vec<Fragment> = items.iter().map(|item| self.parameter(item, tested.ty)).collect::<Option<_>>()?;
        let within = |left: &Fragment, lead: &'static str| {
            Fragment::new().sql("(").then(left).sql(lead).list(&items, ", ").sql("))")
        };
        if tested.ty != SqlType::Text {
            return Some(within(&tested.sql, if negated { " NOT IN (" } else { " IN (" }));
        }
        let exactly = by_code_point(tested);
        if negated {
            return Some(within(&exactly, " NOT IN ("));
        }
        if !by_index {
            return Some(within(&exactly, " IN ("));
        }
        Some(Fragment::infix(&within(&tested.sql, " IN ("), " AND ", &within(&exactly, " IN (")))
    }

    fn like(&self, text: &Term, pattern: &str, negated: bool) -> Option<Fragment> {
        if text.ty != SqlType::Text {
            return None;
        }
        let pattern = self.parameter(&ScalarValue::from(escaped_by_bar(pattern)?), SqlType::Text)?;
        let operator = if negated { " NOT LIKE " } else { " LIKE " };
        Some(Fragment::new().sql("(").then(&by_code_point(text)).sql(operator).then(&pattern).sql(" ESCAPE '|')"))
    }

    fn cast(&self, term: &Term, to: SqlType) -> Option<Fragment> {
        use SqlType::*;
        let unchanged = match (term.ty, to) {
            (from, to) if from == to => from != Other,
            // Integers are computed in 64 bits whatever their column is.
            (Int2, Int4 | Int8) | (Int4, Int8) => true,
            (Int2 | Int4 | Int8, Numeric { precision, scale }) => {
                term.ty.whole_digits()? <= precision.saturating_sub(scale)
            }
            (Numeric { scale: from, .. }, Numeric { scale, .. }) => {
                from <= scale && term.ty.whole_digits()? <= to.whole_digits()?
            }
            (Timestamp, Timestamptz) | (Timestamptz, Timestamp) => true,
            (Int2 | Int4 | Int8, Float8) => {
                return Some(Fragment::new().sql("CAST(").then(&term.sql).sql(" AS DOUBLE)"));
            }
            (Date, Timestamp) => {
                return Some(Fragment::new().sql("CAST(").then(&term.sql).sql(" AS DATETIME(6))"));
            }
            _ => false,
        };
        unchanged.then(|| term.sql.clone())
    }

    fn key(&self, term: &Term) -> Option<Fragment> {
        match term.ty {
            SqlType::Text if !term.code_point => Some(exact(term)),
            ty if comparable(ty) => Some(term.sql.clone()),
            _ => None,
        }
    }

    /// Not text: a sort looks at its first `max_sort_length` bytes (1024) only, without a word.
    fn can_order_by(&self, term: &Term) -> bool {
        comparable(term.ty) && term.ty != SqlType::Text
    }

    /// DISTINCT makes MariaDB group by sorting, so that long texts with the same beginning become one group (seen in 10.11).
    fn can_group_distinct_by(&self, term: &Term) -> bool {
        term.ty != SqlType::Text
    }

    fn order_key(&self, key: &OrderKey) -> Vec<Fragment> {
        let mut items = vec![];
        // Ascending, MySQL puts NULLs first; descending, last.
        if key.value.field.is_nullable() && key.nulls_first == key.descending {
            let direction = if key.nulls_first { " IS NULL) DESC" } else { " IS NULL) ASC" };
            items.push(Fragment::new().sql("(").then(&key.value.sql).sql(direction));
        }
        items.push(key.value.sql.clone().sql(if key.descending { " DESC" } else { " ASC" }));
        items
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn aggregates(&self) -> &'static [Aggregate] {
        AGGREGATES
    }

    fn checked_sum(&self, sum: Fragment, to: SqlType) -> Fragment {
        // A sum of integers is a decimal. CAST(… AS SIGNED) would clip it, DIV fails beyond 64 bits (1690).
        if to.is_integer() { Fragment::new().sql("(").then(&sum).sql(" DIV 1)") } else { sum }
    }

    fn has_full_join(&self) -> bool {
        false
    }

    fn by_code_point(&self, sql: &Fragment) -> Fragment {
        exact_sql(sql)
    }

    fn is_opaque(&self, _: &Term) -> bool {
        false
    }

    fn may_correlate(&self, term: &Term) -> bool {
        // MariaDB keeps the results of a correlated sub-select under the outer column's value, compared by that column's
        // collation: what EXISTS gave for 'a' it gives for 'A' too, whatever is compared inside (seen in 10.11).
        term.ty != SqlType::Text || term.code_point
    }

    fn computed_text_by_code_point(&self) -> bool {
        false
    }
}

/// Text compared by code point, whatever its character set and collation are.
fn exact(term: &Term) -> Fragment {
    exact_sql(&term.sql)
}

fn exact_sql(sql: &Fragment) -> Fragment {
    Fragment::new().sql("(CONVERT(").then(sql).sql(" USING utf8mb4) COLLATE ").binary_collation().sql(")")
}

/// The same, for text that stands beside a bind parameter, whose collation yields.
fn by_code_point(term: &Term) -> Fragment {
    if term.code_point { term.sql.clone() } else { exact(term) }
}

fn as_parameter(term: &Term) -> Option<&ScalarValue> {
    match term.sql.pieces() {
        [Piece::Parameter(value)] => Some(value),
        _ => None,
    }
}

/// Comparing a column of another character set with a value outside it is an error (1267); every set has ASCII.
fn in_every_character_set(value: &ScalarValue) -> bool {
    matches!(value, ScalarValue::Utf8(Some(text)) if text.is_ascii())
}

/// FLOAT is compared as DOUBLE (0.1 is not found); TIME reaches beyond a day.
fn comparable(ty: SqlType) -> bool {
    !matches!(ty, SqlType::Other | SqlType::Float4 | SqlType::Bytes | SqlType::Time)
}

fn wide_integers(types: &[SqlType]) -> bool {
    types.iter().all(|ty| ty.is_integer()) && types.contains(&SqlType::Int8)
}

fn two_texts(types: &[SqlType]) -> bool {
    types.len() == 2 && texts(types)
}

fn one_known(types: &[SqlType]) -> bool {
    matches!(types, [ty] if *ty != SqlType::Other)
}

/// Not timestamptz: its days are those of the client's zone, the source's session is in UTC.
fn unit_and_time(types: &[SqlType]) -> bool {
    matches!(types, [SqlType::Text, SqlType::Timestamp])
}

fn minutes_and_time(types: &[SqlType]) -> bool {
    matches!(types, [SqlType::Int4, SqlType::Timestamp | SqlType::Timestamptz])
}

fn to_int8(_: SqlType, result: SqlType) -> bool {
    result == SqlType::Int8
}

fn never_aggregated(_: SqlType, _: SqlType) -> bool {
    false
}

/// SUM of decimals adds 22 digits, up to 65: wide ones could clip.
fn summable(argument: SqlType, result: SqlType) -> bool {
    match (argument, result) {
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8, SqlType::Int8) => true,
        (SqlType::Int8, SqlType::Numeric { .. }) => true,
        (SqlType::Numeric { precision, scale }, SqlType::Numeric { scale: asked, .. }) => {
            precision <= 43 && scale <= 30 && scale <= asked
        }
        (SqlType::Float8, SqlType::Float8) => true,
        _ => false,
    }
}

fn extreme(argument: SqlType, result: SqlType) -> bool {
    argument == result && comparable(argument) && argument != SqlType::Bool
}

/// A LIKE pattern whose escape is `|`, so that it means the same with and without NO_BACKSLASH_ESCAPES.
fn escaped_by_bar(pattern: &str) -> Option<String> {
    let mut escaped = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' | '_' => escaped.push(character),
            '|' => escaped.push_str("||"),
            '\\' => {
                // A lone escape at the end is an error in PostgreSQL.
                let literal = characters.next()?;
                if matches!(literal, '%' | '_' | '|') {
                    escaped.push('|');
                }
                escaped.push(literal);
            }
            other => escaped.push(other),
        }
    }
    Some(escaped)
}

fn signed(call: &Call, operator: &'static str) -> Option<Fragment> {
    let [left, right] = call.terms else { return None };
    let cast = |term: &Term| Fragment::new().sql("CAST(").then(&term.sql).sql(" AS SIGNED)");
    (call.result == SqlType::Int8).then(|| Fragment::infix(&cast(left), operator, &cast(right)))
}

/// CONCAT of text is NULL where any part is, as `||` is.
fn concat(call: &Call) -> Option<Fragment> {
    let parts: Vec<Fragment> = call.terms.iter().map(exact).collect();
    Some(Fragment::call("CONCAT", &parts))
}

fn coalesce(call: &Call) -> Option<Fragment> {
    if !call.terms.iter().all(|term| comparable(term.ty)) {
        return None;
    }
    let parts: Vec<Fragment> =
        call.terms.iter().map(|term| if term.ty == SqlType::Text { exact(term) } else { term.sql.clone() }).collect();
    Some(Fragment::call("COALESCE", &parts))
}

fn like_literal(call: &Call) -> Option<Fragment> {
    MySql.like(&call.terms[0], text_literal(call.arguments.get(1)?)?, false)
}

fn not_like_literal(call: &Call) -> Option<Fragment> {
    MySql.like(&call.terms[0], text_literal(call.arguments.get(1)?)?, true)
}

/// Only what changes no value, and the day of a time; everything else rounds, clips or reads strings leniently.
fn pg_cast(call: &Call) -> Option<Fragment> {
    let term = &call.terms[0];
    if (term.ty, call.result) == (SqlType::Timestamp, SqlType::Date) {
        return Some(Fragment::new().sql("DATE(").then(&term.sql).sql(")"));
    }
    // Text may be `varchar(3)`, which cuts, and a timestamp `timestamp(0)`, which rounds: the Arrow type does not tell.
    let told = call.result.is_exact() || call.result == SqlType::Float8;
    if told { MySql.cast(term, call.result) } else { None }
}

/// Only UTC, in which the session is: named zones are NULL on a server whose zone tables were not filled.
fn to_local(call: &Call) -> Option<Fragment> {
    if text_literal(call.arguments.get(1)?)? != "UTC" {
        return None;
    }
    Some(Fragment::new().sql("CAST(").then(&call.terms[0].sql).sql(" AS DATETIME(6))"))
}

/// Minutes since 1970 are minutes of the hour: both count from a whole hour.
fn floor_minutes(call: &Call) -> Option<Fragment> {
    let [Expr::Literal(ScalarValue::Int32(Some(minutes)), _), _] = call.arguments else { return None };
    let time = &call.terms[1];
    // The value is written twice.
    if !time.sql.is_without_parameters() {
        return None;
    }
    let hour = |after: &'static str| {
        Fragment::new()
            .sql("CAST(DATE_FORMAT(")
            .then(&time.sql)
            .sql(", '%Y-%m-%d %H:00:00') AS DATETIME(6))")
            .sql(after)
    };
    let step = match minutes {
        60 => return Some(hour("")),
        30 => " DIV 30 * 30) MINUTE)",
        15 => " DIV 15 * 15) MINUTE)",
        _ => return None,
    };
    let from_hour = Fragment::new().sql(" + INTERVAL (MINUTE(").then(&time.sql).sql(")").sql(step);
    Some(Fragment::new().sql("(").then(&hour("")).then(&from_hour))
}

fn date_trunc(call: &Call) -> Option<Fragment> {
    let [unit, _] = call.arguments else { return None };
    let time = &call.terms[1];
    // The forms for week and quarter have the value twice.
    if !time.sql.is_without_parameters() || time.ty != call.result {
        return None;
    }
    let (before, after) = match text_literal(unit)?.to_ascii_lowercase().as_str() {
        "second" => ("CAST(DATE_FORMAT(", ", '%Y-%m-%d %H:%i:%s') AS DATETIME(6))"),
        "minute" => ("CAST(DATE_FORMAT(", ", '%Y-%m-%d %H:%i:00') AS DATETIME(6))"),
        "hour" => ("CAST(DATE_FORMAT(", ", '%Y-%m-%d %H:00:00') AS DATETIME(6))"),
        "day" => ("CAST(DATE_FORMAT(", ", '%Y-%m-%d') AS DATETIME(6))"),
        "month" => ("CAST(DATE_FORMAT(", ", '%Y-%m-01') AS DATETIME(6))"),
        "year" => ("CAST(DATE_FORMAT(", ", '%Y-01-01') AS DATETIME(6))"),
        "week" => {
            return Some(
                Fragment::new()
                    .sql("CAST((DATE(")
                    .then(&time.sql)
                    .sql(") - INTERVAL WEEKDAY(")
                    .then(&time.sql)
                    .sql(") DAY) AS DATETIME(6))"),
            );
        }
        // Not MAKEDATE, which moves the years 1 to 99 into the twentieth century.
        "quarter" => {
            return Some(
                Fragment::new()
                    .sql("CAST((CAST(DATE_FORMAT(")
                    .then(&time.sql)
                    .sql(", '%Y-01-01') AS DATE) + INTERVAL (QUARTER(")
                    .then(&time.sql)
                    .sql(") - 1) QUARTER) AS DATETIME(6))"),
            );
        }
        _ => return None,
    };
    Some(Fragment::new().sql(before).then(&time.sql).sql(after))
}
