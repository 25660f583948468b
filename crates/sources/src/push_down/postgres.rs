//! What PostgreSQL computes with the meaning that we have here.
//!
//! Our `pg_*` operators *are* PostgreSQL's, checked against it value by value, so that their rows are plain. Sessions pin the time
//! zone to UTC.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::scalar::ScalarValue;

use super::fragment::Fragment;
use super::rules::{
    Aggregate, AggregateForm, Call, Comparison, Form, Function, Rules, SqlType, Term, alike, floats,
    integers_or_floats, never, numbers, text_literal, texts, time_and_zone, travels,
};
use super::select::OrderKey;

pub(crate) struct Postgres;

/// Up to here a list is written out, longer ones travel as one array.
const IN_LIST_WRITTEN_MAX: usize = 8;

const LOCALE: Form = Form::Silent("case folding depends on the locale of the database");
const WRAPS: Form = Form::Silent("DataFusion's own arithmetic wraps or rounds where PostgreSQL fails");

static FUNCTIONS: &[Function] = &[
    // Operators of ours.
    Function { name: "pg_add", takes: numbers, form: Form::Infix(" + ") },
    Function { name: "pg_sub", takes: numbers, form: Form::Infix(" - ") },
    Function { name: "pg_mul", takes: numbers, form: Form::Infix(" * ") },
    // The scale of a numeric quotient depends on the digits that the stored values show, which we do not see.
    Function { name: "pg_div", takes: integers_or_floats, form: Form::Infix(" / ") },
    Function { name: "pg_mod", takes: exact_numbers, form: Form::Infix(" % ") },
    Function { name: "pg_neg", takes: numbers, form: Form::Prefix("- ") },
    Function { name: "pg_concat", takes: texts, form: Form::Infix(" || ") },
    Function { name: "pg_like", takes: texts, form: Form::Infix(" LIKE ") },
    Function { name: "pg_not_like", takes: texts, form: Form::Infix(" NOT LIKE ") },
    Function { name: "pg_ilike", takes: never, form: LOCALE },
    Function { name: "pg_cast", takes: one_known, form: Form::Custom(pg_cast) },
    // Functions.
    Function { name: "coalesce", takes: alike, form: Form::Call("COALESCE") },
    Function { name: "nullif", takes: alike, form: Form::Call("NULLIF") },
    Function { name: "pg_abs", takes: numbers, form: Form::Call("abs") },
    Function { name: "abs", takes: floats, form: Form::Call("abs") },
    Function { name: "char_length", takes: texts, form: Form::Call("char_length") },
    Function { name: "character_length", takes: texts, form: Form::Call("char_length") },
    Function { name: "length", takes: texts, form: Form::Call("char_length") },
    Function { name: "octet_length", takes: texts, form: Form::Call("octet_length") },
    Function { name: "strpos", takes: texts, form: Form::Call("strpos") },
    Function { name: "starts_with", takes: texts, form: Form::Call("starts_with") },
    Function { name: "date_trunc", takes: unit_and_time, form: Form::Custom(date_trunc) },
    Function { name: "date_part", takes: unit_and_day_or_time, form: Form::Custom(date_part) },
    Function { name: "extract", takes: unit_and_day_or_time, form: Form::Custom(extract) },
    Function { name: "from_local", takes: wall_clock_and_zone, form: Form::Custom(from_local) },
    Function { name: "to_local", takes: time_and_zone, form: Form::Custom(to_local) },
    Function { name: "pg_date_trunc", takes: unit_and_time, form: Form::Custom(date_trunc) },
    Function { name: "lower", takes: never, form: LOCALE },
    Function { name: "upper", takes: never, form: LOCALE },
    Function { name: "initcap", takes: never, form: LOCALE },
    Function { name: "round", takes: never, form: WRAPS },
    Function { name: "power", takes: never, form: WRAPS },
];

static AGGREGATES: &[Aggregate] = &[
    Aggregate { name: "count", takes: to_int8, form: AggregateForm::Count },
    Aggregate { name: "pg_count", takes: to_int8, form: AggregateForm::Count },
    Aggregate { name: "sum", takes: summable, form: AggregateForm::Plain("sum") },
    Aggregate { name: "pg_sum", takes: summable, form: AggregateForm::Plain("sum") },
    Aggregate { name: "min", takes: extreme, form: AggregateForm::Extreme("min") },
    Aggregate { name: "max", takes: extreme, form: AggregateForm::Extreme("max") },
    Aggregate { name: "pg_min", takes: extreme, form: AggregateForm::Extreme("min") },
    Aggregate { name: "pg_max", takes: extreme, form: AggregateForm::Extreme("max") },
    // DataFusion's avg of exact types is a float or has a scale of its own; only floats agree.
    Aggregate { name: "avg", takes: float_to_float, form: AggregateForm::Plain("avg") },
    Aggregate { name: "pg_avg", takes: averageable, form: AggregateForm::Plain("avg") },
];

impl Rules for Postgres {
    fn null(&self, ty: SqlType) -> Option<Fragment> {
        Some(Fragment::keyword("NULL").sql(cast_to(ty)?))
    }

    fn parameter(&self, value: &ScalarValue, ty: SqlType) -> Option<Fragment> {
        if let ScalarValue::Boolean(Some(value)) = value {
            return Some(Fragment::keyword(if *value { "TRUE" } else { "FALSE" }));
        }
        let cast = cast_to(ty)?;
        travels(value).then(|| Fragment::new().parameter(value.clone()).sql(cast))
    }

    fn compare(&self, comparison: Comparison, left: &Term, right: &Term) -> Option<Fragment> {
        if !comparable(left.ty) || !left.ty.same_class(right.ty) {
            return None;
        }
        if self.is_opaque(left) || self.is_opaque(right) {
            return None;
        }
        // Equality is the same in every collation (that is deterministic); without COLLATE it can use any index.
        let left =
            if left.ty == SqlType::Text && comparison.is_ordering() { collated(&left.sql) } else { left.sql.clone() };
        Some(Fragment::infix(&left, operator(comparison), &right.sql))
    }

    fn in_list(&self, tested: &Term, items: &[ScalarValue], negated: bool) -> Option<Fragment> {
        if !comparable(tested.ty) || self.is_opaque(tested) || !items.iter().all(travels) {
            return None;
        }
        let left = &tested.sql;
        if items.len() <= IN_LIST_WRITTEN_MAX || tested.ty == SqlType::Bool {
            let items: Option<Vec<Fragment>> = items.iter().map(|item| self.parameter(item, tested.ty)).collect();
            let lead = if negated { " NOT IN (" } else { " IN (" };
            return Some(Fragment::new().sql("(").then(left).sql(lead).list(&items?, ", ").sql("))"));
        }
        let array = ScalarValue::iter_to_array(items.iter().cloned()).ok()?;
        let field = Arc::new(Field::new_list_field(array.data_type().clone(), true));
        let list = SingleRowListArrayBuilder::new(array).with_field(&field).build_list_array();
        let lead = if negated { " <> ALL (" } else { " = ANY (" };
        Some(
            Fragment::new()
                .sql("(")
                .then(left)
                .sql(lead)
                .parameter(ScalarValue::List(Arc::new(list)))
                .sql(cast_to(tested.ty)?)
                .sql("[]))"),
        )
    }

    fn like(&self, text: &Term, pattern: &str, negated: bool) -> Option<Fragment> {
        if text.ty != SqlType::Text || self.is_opaque(text) || !is_whole_pattern(pattern) {
            return None;
        }
        let pattern = self.parameter(&ScalarValue::from(pattern), SqlType::Text)?;
        let operator = if negated { " NOT LIKE " } else { " LIKE " };
        Some(Fragment::infix(&text.sql, operator, &pattern))
    }

    fn cast(&self, term: &Term, to: SqlType) -> Option<Fragment> {
        use SqlType::*;
        let same = match (term.ty, to) {
            (from, to) if from == to => return (from != Other).then(|| term.sql.clone()),
            (Int2, Int4 | Int8) | (Int4, Int8) | (Int2 | Int4 | Int8, Float8) | (Float4, Float8) => true,
            (Int2 | Int4 | Int8, Numeric { precision, scale }) => {
                term.ty.whole_digits()? <= precision.saturating_sub(scale)
            }
            (Numeric { scale: from, .. }, Numeric { scale, .. }) => {
                from <= scale && term.ty.whole_digits()? <= to.whole_digits()?
            }
            (Date, Timestamp) | (Timestamp, Timestamptz) | (Timestamptz, Timestamp) => true,
            _ => false,
        };
        if same { Some(Fragment::new().then(&term.sql).sql(cast_to(to)?)) } else { None }
    }

    fn key(&self, term: &Term) -> Option<Fragment> {
        (comparable(term.ty) && !self.is_opaque(term)).then(|| term.sql.clone())
    }

    fn can_order_by(&self, term: &Term) -> bool {
        comparable(term.ty) && !self.is_opaque(term)
    }

    fn can_group_distinct_by(&self, _: &Term) -> bool {
        true
    }

    fn order_key(&self, key: &OrderKey) -> Vec<Fragment> {
        let value = if SqlType::of(&key.value.field) == SqlType::Text {
            collated(&key.value.sql)
        } else {
            key.value.sql.clone()
        };
        let direction = match (key.descending, key.nulls_first) {
            (false, false) => " ASC NULLS LAST",
            (false, true) => " ASC NULLS FIRST",
            (true, false) => " DESC NULLS LAST",
            (true, true) => " DESC NULLS FIRST",
        };
        vec![value.sql(direction)]
    }

    fn functions(&self) -> &'static [Function] {
        FUNCTIONS
    }

    fn aggregates(&self) -> &'static [Aggregate] {
        AGGREGATES
    }

    fn checked_sum(&self, sum: Fragment, to: SqlType) -> Fragment {
        // sum(int8) is numeric: the cast fails where the sum does not fit. A numeric is never cast, that would round it.
        match cast_to(to) {
            Some(cast) if to.is_integer() => sum.sql(cast),
            _ => sum,
        }
    }

    fn has_full_join(&self) -> bool {
        true
    }

    fn by_code_point(&self, sql: &Fragment) -> Fragment {
        collated(sql)
    }

    fn is_opaque(&self, term: &Term) -> bool {
        // character(n), whose operators ignore trailing blanks, and enums, which are ordered as they were declared.
        term.ty == SqlType::Text && !term.code_point
    }

    fn may_correlate(&self, _: &Term) -> bool {
        true
    }

    fn computed_text_by_code_point(&self) -> bool {
        true
    }
}

/// The suffix that makes an expression this type.
fn cast_to(ty: SqlType) -> Option<&'static str> {
    Some(match ty {
        SqlType::Bool => "::bool",
        SqlType::Int2 => "::int2",
        SqlType::Int4 => "::int4",
        SqlType::Int8 => "::int8",
        SqlType::Float4 => "::float4",
        SqlType::Float8 => "::float8",
        SqlType::Numeric { .. } => "::numeric",
        SqlType::Text => "::text",
        SqlType::Bytes => "::bytea",
        SqlType::Date => "::date",
        SqlType::Time => "::time",
        SqlType::Timestamp => "::timestamp",
        SqlType::Timestamptz => "::timestamptz",
        SqlType::Other => return None,
    })
}

fn collated(sql: &Fragment) -> Fragment {
    Fragment::new().sql("(").then(sql).sql(" COLLATE \"C\")")
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => " = ",
        Comparison::NotEq => " <> ",
        Comparison::Lt => " < ",
        Comparison::LtEq => " <= ",
        Comparison::Gt => " > ",
        Comparison::GtEq => " >= ",
        Comparison::DistinctFrom => " IS DISTINCT FROM ",
        Comparison::NotDistinctFrom => " IS NOT DISTINCT FROM ",
    }
}

fn comparable(ty: SqlType) -> bool {
    ty != SqlType::Other
}

fn exact_numbers(types: &[SqlType]) -> bool {
    types.iter().all(|ty| ty.is_exact())
}

fn one_known(types: &[SqlType]) -> bool {
    matches!(types, [ty] if *ty != SqlType::Other)
}

fn unit_and_day_or_time(types: &[SqlType]) -> bool {
    matches!(types, [SqlType::Text, SqlType::Timestamp | SqlType::Date])
}

fn wall_clock_and_zone(types: &[SqlType]) -> bool {
    matches!(types, [SqlType::Timestamp, SqlType::Text])
}

/// Not timestamptz: its days are those of the client's zone, the source's session is in UTC.
fn unit_and_time(types: &[SqlType]) -> bool {
    matches!(types, [SqlType::Text, SqlType::Timestamp])
}

fn to_int8(_: SqlType, result: SqlType) -> bool {
    result == SqlType::Int8
}

fn summable(argument: SqlType, result: SqlType) -> bool {
    match result {
        SqlType::Int8 => argument.is_integer(),
        SqlType::Numeric { scale, .. } => match argument {
            SqlType::Int8 => true,
            SqlType::Numeric { scale: given, .. } => given <= scale,
            _ => false,
        },
        SqlType::Float8 => argument == SqlType::Float8,
        _ => false,
    }
}

fn averageable(argument: SqlType, result: SqlType) -> bool {
    (argument.is_exact() && matches!(result, SqlType::Numeric { .. })) || float_to_float(argument, result)
}

fn float_to_float(argument: SqlType, result: SqlType) -> bool {
    argument == SqlType::Float8 && result == SqlType::Float8
}

/// PostgreSQL has no min and max of bool, and none of bytea before 18.
fn extreme(argument: SqlType, result: SqlType) -> bool {
    argument == result && !matches!(argument, SqlType::Other | SqlType::Bool | SqlType::Bytes)
}

/// A pattern that ends in a lone `\` is an error in PostgreSQL, but only for the rows that reach its end.
fn is_whole_pattern(pattern: &str) -> bool {
    let trailing = pattern.chars().rev().take_while(|c| *c == '\\').count();
    trailing % 2 == 0
}

/// The wall clock of a zone at an instant; a timestamp without zone is an instant in UTC.
fn to_local(call: &Call) -> Option<Fragment> {
    let [time, zone] = call.terms else { return None };
    text_literal(call.arguments.get(1)?)?;
    let zoned = Fragment::new().sql("timezone(").then(&zone.sql).sql(", ");
    match time.ty {
        SqlType::Timestamptz => Some(zoned.then(&time.sql).sql(")")),
        SqlType::Timestamp => Some(zoned.sql("timezone('UTC', ").then(&time.sql).sql("))")),
        _ => None,
    }
}

/// The instant at which the wall clock of a zone shows a time.
fn from_local(call: &Call) -> Option<Fragment> {
    let [time, zone] = call.terms else { return None };
    text_literal(call.arguments.get(1)?)?;
    Some(Fragment::new().sql("timezone(").then(&zone.sql).sql(", ").then(&time.sql).sql(")"))
}

/// Whole numbers only: `extract` gives them without a scale of its own, before PostgreSQL 14 as a float.
fn date_part(call: &Call) -> Option<Fragment> {
    let function = match text_literal(call.arguments.first()?)?.to_ascii_lowercase().as_str() {
        "hour" if call.terms[1].ty == SqlType::Timestamp => "date_part('hour', ",
        "minute" if call.terms[1].ty == SqlType::Timestamp => "date_part('minute', ",
        "day" => "date_part('day', ",
        "dow" => "date_part('dow', ",
        "isodow" => "date_part('isodow', ",
        "doy" => "date_part('doy', ",
        "week" => "date_part('week', ",
        "month" => "date_part('month', ",
        "quarter" => "date_part('quarter', ",
        "year" => "date_part('year', ",
        "isoyear" => "date_part('isoyear', ",
        _ => return None,
    };
    Some(Fragment::new().sql(function).then(&call.terms[1].sql).sql(")"))
}

fn extract(call: &Call) -> Option<Fragment> {
    Some(date_part(call)?.sql("::numeric"))
}

fn date_trunc(call: &Call) -> Option<Fragment> {
    let [unit, _] = call.arguments else { return None };
    let function = match text_literal(unit)?.to_ascii_lowercase().as_str() {
        "second" => "date_trunc('second', ",
        "minute" => "date_trunc('minute', ",
        "hour" => "date_trunc('hour', ",
        "day" => "date_trunc('day', ",
        "week" => "date_trunc('week', ",
        "month" => "date_trunc('month', ",
        "quarter" => "date_trunc('quarter', ",
        "year" => "date_trunc('year', ",
        _ => return None,
    };
    if call.terms[1].ty != call.result {
        return None;
    }
    Some(Fragment::new().sql(function).then(&call.terms[1].sql).sql(")"))
}

/// PostgreSQL's own cast, to the type that the call returns.
///
/// Left out is what depends on settings of the session (timestamptz), and what the Arrow type does not tell: text may be
/// `varchar(3)`, which cuts, and a timestamp may be `timestamp(0)`, which rounds.
fn pg_cast(call: &Call) -> Option<Fragment> {
    use SqlType::*;
    let term = &call.terms[0];
    let allowed = matches!(
        (term.ty, call.result),
        (Int2 | Int4 | Int8 | Numeric { .. }, Int2 | Int4 | Int8 | Numeric { .. } | Float8)
            | (Text, Int2 | Int4 | Int8 | Float8 | Numeric { .. } | Bool)
            | (Bool, Int4)
            | (Int4, Bool)
            | (Float4, Float8)
            | (Float8, Int2 | Int4 | Int8)
            | (Date, Timestamp)
            | (Timestamp, Date)
    );
    if !allowed {
        return None;
    }
    let cast = Fragment::new().then(&term.sql).sql(cast_to(call.result)?);
    Some(match call.result {
        // A bare numeric is read as numeric(76,20), every value checked; PostgreSQL's keeps its own digits.
        Numeric { precision, scale } if (precision, scale) != (76, 20) => {
            cast.sql("(").number(precision.into()).sql(",").number(scale.into()).sql(")")
        }
        _ => cast,
    })
}
