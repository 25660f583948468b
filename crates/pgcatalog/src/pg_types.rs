//! PostgreSQL's types: their rows, names as SQL writes them, categories, and which turns into which without being asked.

use std::collections::HashMap;

use crate::data;
use belvedere_functions::identifiers::quote_ident;

pub type Oid = u32;

pub const BOOL: Oid = 16;
pub const CHAR: Oid = 18;
pub const NAME: Oid = 19;
pub const INT8: Oid = 20;
pub const INT2: Oid = 21;
pub const INT2VECTOR: Oid = 22;
pub const INT4: Oid = 23;
pub const REGPROC: Oid = 24;
pub const TEXT: Oid = 25;
pub const OID: Oid = 26;
pub const XID: Oid = 28;
pub const OIDVECTOR: Oid = 30;
pub const JSON: Oid = 114;
pub const FLOAT4: Oid = 700;
pub const FLOAT8: Oid = 701;
pub const UNKNOWN: Oid = 705;
pub const INET: Oid = 869;
pub const TEXT_ARRAY: Oid = 1009;
pub const NAME_ARRAY: Oid = 1003;
pub const OID_ARRAY: Oid = 1028;
pub const ACLITEM_ARRAY: Oid = 1034;
pub const BPCHAR: Oid = 1042;
pub const VARCHAR: Oid = 1043;
pub const TIMESTAMP: Oid = 1114;
pub const TIMESTAMPTZ: Oid = 1184;
pub const INTERVAL: Oid = 1186;
pub const NUMERIC: Oid = 1700;
pub const REGPROCEDURE: Oid = 2202;
pub const REGOPER: Oid = 2203;
pub const REGOPERATOR: Oid = 2204;
pub const REGCLASS: Oid = 2205;
pub const REGTYPE: Oid = 2206;
pub const RECORD: Oid = 2249;
pub const ANY: Oid = 2276;
pub const ANYARRAY: Oid = 2277;
pub const ANYELEMENT: Oid = 2283;
pub const REGNAMESPACE: Oid = 4089;
pub const REGROLE: Oid = 4096;

/// One row of `pg_type`, as far as expressions need it.
#[derive(Debug, Clone)]
pub struct PgType {
    pub oid: Oid,
    pub name: String,
    pub namespace: Oid,
    pub kind: char,
    pub category: char,
    pub preferred: bool,
    pub element: Oid,
    pub array: Oid,
    pub base: Oid,
    pub base_typmod: i32,
    pub len: i16,
    pub collation: Oid,
    pub storage: char,
    pub align: char,
    pub by_value: bool,
}

/// All built-in types, by oid and by name.
#[derive(Debug)]
pub struct TypeTable {
    by_oid: HashMap<Oid, PgType>,
    by_name: HashMap<String, Oid>,
}

impl TypeTable {
    pub fn load() -> Self {
        let (mut by_oid, mut by_name) = (HashMap::new(), HashMap::new());
        let table = data::Tsv::read(data::PG_TYPE);
        for row in table.rows() {
            let number = |name: &str| row.get(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
            let letter = |name: &str| row.get(name).and_then(|text| text.chars().next()).unwrap_or(' ');
            let oid = number("oid") as Oid;
            let name = row.get("typname").unwrap_or_default();
            by_name.insert(name.clone(), oid);
            let ty = PgType {
                oid,
                name,
                namespace: number("typnamespace") as Oid,
                kind: letter("typtype"),
                category: letter("typcategory"),
                preferred: letter("typispreferred") == 't',
                element: number("typelem") as Oid,
                array: number("typarray") as Oid,
                base: number("typbasetype") as Oid,
                base_typmod: number("typtypmod") as i32,
                len: number("typlen") as i16,
                collation: number("typcollation") as Oid,
                storage: letter("typstorage"),
                align: letter("typalign"),
                by_value: letter("typbyval") == 't',
            };
            by_oid.insert(oid, ty);
        }
        Self { by_oid, by_name }
    }

    pub fn get(&self, oid: Oid) -> Option<&PgType> {
        self.by_oid.get(&oid)
    }

    /// The type that a domain is over, with its modifier; every other type unchanged. What a client is told is never a domain.
    pub fn base(&self, oid: Oid, typmod: i32) -> (Oid, i32) {
        match self.get(oid) {
            Some(ty) if ty.kind == 'd' => (ty.base, ty.base_typmod),
            _ => (oid, typmod),
        }
    }

    /// The array type over `oid`; text[] where there is none.
    pub fn array_of(&self, oid: Oid) -> Oid {
        self.get(oid).map(|ty| ty.array).filter(|array| *array != 0).unwrap_or(TEXT_ARRAY)
    }

    /// The element type of an array type (also int2vector and oidvector).
    pub fn element_of(&self, oid: Oid) -> Option<Oid> {
        match oid {
            ANYARRAY => Some(TEXT),
            _ => self.get(oid).filter(|ty| ty.category == 'A' && ty.element != 0).map(|ty| ty.element),
        }
    }

    pub fn category(&self, oid: Oid) -> char {
        self.get(oid).map_or('U', |ty| ty.category)
    }

    /// Reads a type's name as SQL or the catalog writes it: `bigint`, `numeric(12,2)`, `text[]`, `pg_catalog.int4`, `"char"`.
    pub fn parse(&self, text: &str) -> Option<(Oid, i32)> {
        let text = text.trim();
        if let Some(element) = text.strip_suffix("[]") {
            let (oid, typmod) = self.parse(element)?;
            return Some((self.get(oid).map(|ty| ty.array).filter(|array| *array != 0)?, typmod));
        }
        if text.eq_ignore_ascii_case("\"char\"") || text.eq_ignore_ascii_case("pg_catalog.\"char\"") {
            return Some((CHAR, -1));
        }
        let lower = text.to_ascii_lowercase();
        let lower = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
        let lower = lower.strip_prefix("information_schema.").unwrap_or(lower);
        let (head, arguments, tail) = match (lower.find('('), lower.rfind(')')) {
            (Some(open), Some(close)) if open < close => {
                (lower[..open].trim_end(), Some(&lower[open + 1..close]), lower[close + 1..].trim())
            }
            _ => (lower, None, ""),
        };
        let words: Vec<&str> = head.split_whitespace().chain(tail.split_whitespace()).collect();
        let name = match words.join(" ").as_str() {
            "boolean" => "bool",
            "smallint" => "int2",
            "integer" | "int" => "int4",
            "bigint" => "int8",
            "real" => "float4",
            "double precision" | "float" => "float8",
            "decimal" => "numeric",
            "character varying" => "varchar",
            "character" | "char" => "bpchar",
            "bit varying" => "varbit",
            "timestamp without time zone" => "timestamp",
            "timestamp with time zone" => "timestamptz",
            "time without time zone" => "time",
            "time with time zone" => "timetz",
            other => return self.modified(self.by_name.get(other.trim_matches('"')).copied()?, arguments),
        };
        self.modified(self.by_name.get(name).copied()?, arguments)
    }

    fn modified(&self, oid: Oid, arguments: Option<&str>) -> Option<(Oid, i32)> {
        let Some(arguments) = arguments else { return Some((oid, -1)) };
        let numbers: Option<Vec<i32>> = arguments.split(',').map(|part| part.trim().parse().ok()).collect();
        let numbers = numbers?;
        let first = *numbers.first()?;
        let typmod = match oid {
            NUMERIC => ((first << 16) | (numbers.get(1).copied().unwrap_or(0) & 0x7ff)) + 4,
            VARCHAR | BPCHAR => first + 4,
            _ => first,
        };
        Some((oid, typmod))
    }

    /// The type as SQL writes it, as `format_type` gives it. `typmod` is `None` where the modifier is unknown (SQL NULL).
    pub fn format(&self, oid: Oid, typmod: Option<i32>) -> String {
        if oid == 0 {
            return "-".to_owned();
        }
        let Some(ty) = self.get(oid) else { return "???".to_owned() };
        if ty.name.starts_with('_') && ty.element != 0 {
            return format!("{}[]", self.format(ty.element, typmod));
        }
        let modifier = typmod.filter(|typmod| *typmod >= 0);
        let precision = |shift: i32| modifier.map_or(String::new(), |typmod| format!("({})", typmod - shift));
        match oid {
            BOOL => "boolean".to_owned(),
            INT2 => "smallint".to_owned(),
            INT4 => "integer".to_owned(),
            INT8 => "bigint".to_owned(),
            FLOAT4 => "real".to_owned(),
            FLOAT8 => "double precision".to_owned(),
            CHAR => "\"char\"".to_owned(),
            INTERVAL => format!("interval{}", precision(0)),
            BPCHAR if typmod == Some(-1) => "bpchar".to_owned(),
            BPCHAR => format!("character{}", precision(4)),
            VARCHAR => format!("character varying{}", precision(4)),
            NUMERIC => match modifier {
                Some(typmod) => {
                    // The scale is eleven bits, signed.
                    let scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
                    format!("numeric({},{scale})", ((typmod - 4) >> 16) & 0xffff)
                }
                None => "numeric".to_owned(),
            },
            1560 => format!("bit{}", precision(0)),
            1562 => format!("bit varying{}", precision(0)),
            1083 => format!("time{} without time zone", precision(0)),
            1266 => format!("time{} with time zone", precision(0)),
            TIMESTAMP => format!("timestamp{} without time zone", precision(0)),
            TIMESTAMPTZ => format!("timestamp{} with time zone", precision(0)),
            _ if ty.namespace == 11 => quote_ident(&ty.name),
            _ => format!("information_schema.{}", quote_ident(&ty.name)),
        }
    }

    /// Whether a value of type `from` is taken as `to` without a cast.
    pub fn implicit(&self, from: Oid, to: Oid) -> bool {
        if from == to || from == UNKNOWN || to == ANY || to == ANYELEMENT {
            return true;
        }
        if to == ANYARRAY {
            return self.element_of(from).is_some();
        }
        let text = |oid| matches!(oid, TEXT | NAME | VARCHAR | BPCHAR | CHAR);
        match to {
            INT4 => from == INT2,
            INT8 => matches!(from, INT2 | INT4 | OID),
            FLOAT4 | FLOAT8 | NUMERIC => {
                matches!(from, INT2 | INT4 | INT8 | NUMERIC | FLOAT4) && !(to == NUMERIC && from == FLOAT4)
            }
            OID => matches!(from, INT2 | INT4 | INT8) || is_reg(from),
            _ if is_reg(to) => matches!(from, INT2 | INT4 | INT8 | OID) || (to == REGCLASS && text(from)),
            // pg_node_tree (194) is only ever read as text.
            TEXT | VARCHAR | BPCHAR => text(from) || from == 194,
            NAME => text(from),
            TIMESTAMPTZ => from == TIMESTAMP,
            _ => match (self.element_of(from), self.element_of(to)) {
                (Some(a), Some(b)) => a == b || (text(a) && text(b)),
                _ => false,
            },
        }
    }

    /// The type that `CASE`, `UNION`, `COALESCE`, `ARRAY[]` and so on settle on; `None` when there is none.
    pub fn common(&self, types: &[Oid]) -> Option<Oid> {
        let mut chosen = UNKNOWN;
        for &next in types {
            if next == UNKNOWN || next == chosen {
                continue;
            }
            if chosen == UNKNOWN {
                chosen = next;
            } else if self.category(chosen) != self.category(next) {
                return None;
            } else if !self.get(chosen).is_some_and(|ty| ty.preferred)
                && self.implicit(chosen, next)
                && !self.implicit(next, chosen)
            {
                chosen = next;
            } else if !self.implicit(next, chosen) {
                return None;
            }
        }
        Some(if chosen == UNKNOWN { TEXT } else { chosen })
    }
}

/// Whether values of the type are object names shown for an oid.
pub fn is_reg(oid: Oid) -> bool {
    matches!(oid, REGPROC | REGPROCEDURE | REGOPER | REGOPERATOR | REGCLASS | REGTYPE | REGNAMESPACE | REGROLE)
}

pub fn is_integer(oid: Oid) -> bool {
    matches!(oid, INT2 | INT4 | INT8 | OID | XID | 27 | 29) || is_reg(oid)
}

/// text and everything that is compared and shown like it.
pub fn is_text(oid: Oid) -> bool {
    matches!(oid, TEXT | NAME | VARCHAR | BPCHAR | CHAR | UNKNOWN)
}
