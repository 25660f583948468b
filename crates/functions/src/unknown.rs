//! The type of an untyped literal or parameter among a function's arguments.

use arrow::datatypes::DataType;

use crate::types::{PgType, common_type};

/// The type that PostgreSQL gives an untyped argument (0-based `position`) of a function, by what it knows of the others (`None`: untyped
/// too, also at `position`).
///
/// `None`: PostgreSQL cannot choose (42725, as in `date_trunc('day', '2024-01-01')`), or the function is not known here.
pub fn unknown_argument_type(name: &str, position: usize, others: &[Option<DataType>]) -> Option<DataType> {
    let known = || others.iter().flatten().cloned().collect::<Vec<_>>();
    let of = |i: usize| others.get(i).cloned().flatten();
    // i: integer, t: text, f: double precision, v: interval, *: the same type as the other arguments, -: cannot be chosen.
    let code = match name {
        "greatest" | "least" | "coalesce" | "nullif" => {
            return common_type(&known());
        }
        "concat" | "count" | "min" | "max" | "array_agg" | "first_value" | "last_value" => return Some(DataType::Utf8),
        "concat_ws" | "format" | "string_agg" => return Some(DataType::Utf8),
        "lag" | "lead" => match position {
            1 => "ii",
            _ => return of(0).or_else(|| of(2)).or(Some(DataType::Utf8)),
        },
        "nth_value" => match position {
            1 => "ii",
            _ => return Some(DataType::Utf8),
        },
        "ntile" => "i",
        "bool_and" | "bool_or" | "every" => return Some(DataType::Boolean),
        "date_trunc" | "date_part" | "extract" => "t-t",
        "to_char" => "-t",
        "timezone" | "to_local" | "from_local" => "tt",
        "age" => {
            return match known().first() {
                Some(DataType::Timestamp(unit, None)) => Some(DataType::Timestamp(*unit, None)),
                _ => Some(PgType::Timestamptz.arrow()),
            };
        }
        "date_bin" if position == 0 => "v",
        "date_bin" => {
            return match of(3 - position) {
                Some(DataType::Timestamp(unit, None)) => Some(DataType::Timestamp(unit, None)),
                _ => Some(PgType::Timestamptz.arrow()),
            };
        }
        "justify_hours" | "justify_days" | "justify_interval" => "v",
        "make_date" | "chr" => "iii",
        "make_interval" => "iiiiiif",
        "make_timestamp" => "iiiiif",
        "to_date" => "tt",
        "to_timestamp" if others.len() == 1 => "f",
        "to_timestamp" => "tt",
        "round" | "trunc" if position == 1 => "-i",
        "round" | "trunc" if others.len() == 2 => return Some(crate::types::BARE_NUMERIC),
        "abs" | "ceil" | "ceiling" | "floor" | "round" | "trunc" | "sign" | "sqrt" | "exp" | "ln" | "log" | "log10"
        | "sin" | "cos" | "tan" | "asin" | "acos" | "atan" | "atan2" | "sinh" | "cosh" | "tanh" | "asinh" | "acosh"
        | "atanh" | "cot" | "cbrt" | "degrees" | "radians" => "ff",
        "power" | "pow" => match known().first() {
            Some(DataType::Decimal128(..) | DataType::Decimal256(..)) => return Some(crate::types::BARE_NUMERIC),
            _ => "ff",
        },
        "mod" | "div" | "gcd" | "lcm" => return known().first().cloned(),
        "left" | "right" | "repeat" => "ti",
        "lpad" | "rpad" => "tit",
        "split_part" => "tti",
        // An untyped second argument is a pattern.
        "substring" if others.len() == 2 => "tt",
        "substr" | "substring" => "tii",
        "overlay" => "ttii",
        "length" | "char_length" | "character_length" | "octet_length" | "lower" | "upper" | "initcap" | "btrim"
        | "ltrim" | "rtrim" | "replace" | "reverse" | "strpos" | "position" | "starts_with" | "ascii" | "md5"
        | "translate" | "quote_ident" | "quote_literal" | "quote_nullable" | "string_to_array" | "regexp_replace"
        | "regexp_like" | "regexp_match" | "regexp_substr" | "pg_regex_match" | "pg_regex_imatch" | "pg_similar_to" => {
            "tttt"
        }
        "array_to_string" => "-tt",
        _ => return None,
    };
    match code.as_bytes().get(position)? {
        b'i' => Some(DataType::Int32),
        b't' => Some(DataType::Utf8),
        b'f' => Some(DataType::Float64),
        b'v' => Some(PgType::Interval.arrow()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgresql_cannot_choose_stays_unknown() {
        assert_eq!(unknown_argument_type("date_trunc", 1, &[None, None]), None);
        assert_eq!(unknown_argument_type("extract", 1, &[None, None]), None);
        assert_eq!(unknown_argument_type("sum", 0, &[None]), None);
        assert_eq!(unknown_argument_type("to_char", 0, &[None, None]), None);
    }

    #[test]
    fn literals_take_the_type_of_the_signature_or_of_the_others() {
        let date = Some(DataType::Date32);
        assert_eq!(unknown_argument_type("date_trunc", 0, &[None, date.clone()]), Some(DataType::Utf8));
        assert_eq!(unknown_argument_type("greatest", 1, &[date.clone(), None]), date);
        assert_eq!(unknown_argument_type("coalesce", 0, &[None, None]), Some(DataType::Utf8));
        assert_eq!(unknown_argument_type("left", 1, &[Some(DataType::Utf8), None]), Some(DataType::Int32));
        assert_eq!(unknown_argument_type("lag", 2, &[Some(DataType::Int64), None, None]), Some(DataType::Int64));
        assert_eq!(unknown_argument_type("date_bin", 0, &[None, date.clone(), date]), Some(PgType::Interval.arrow()));
    }
}
