//! Resolves names, operators, functions and types inside expressions.

mod calls;

use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, Expr as Ast, Query, Subscript, TrimWhereField, UnaryOperator,
};

use crate::bind::{Binder, Typed, ident, object_name};
use crate::casts;
use crate::error::{CatalogError, Result};
use crate::functions::{self, AS_TEXT};
use crate::pg_types::{self as ty, Oid};
use crate::plan::{Comparison, Expr, Matching, Operator};
use crate::value::Value;

impl Binder<'_> {
    pub fn expr(&mut self, expr: &Ast) -> Result<Typed> {
        match expr {
            Ast::Identifier(name) => self.identifier(name),
            Ast::CompoundIdentifier(names) => {
                let names: Vec<String> = names.iter().map(ident).collect();
                self.compound(&names)
            }
            Ast::Nested(inner) => self.expr(inner),
            Ast::Collate { expr, .. } => self.expr(expr),
            Ast::Value(value) => self.literal(&value.value),
            Ast::TypedString(typed) => {
                let value = self.literal(&typed.value.value)?;
                self.cast(value, &typed.data_type)
            }
            Ast::Cast { expr, data_type, kind, .. } => {
                if !matches!(kind, ast::CastKind::Cast | ast::CastKind::DoubleColon) {
                    return Err(CatalogError::unsupported("TRY_CAST"));
                }
                let value = self.expr(expr)?;
                self.cast(value, data_type)
            }
            Ast::IsNull(inner) | Ast::IsNotNull(inner) | Ast::IsUnknown(inner) | Ast::IsNotUnknown(inner) => {
                let negated = matches!(expr, Ast::IsNotNull(_) | Ast::IsNotUnknown(_));
                let inner = self.expr(inner)?;
                Ok(boolean(Expr::IsNull { expr: Box::new(inner.expr), negated }))
            }
            Ast::IsTrue(inner) => self.is_bool(inner, true, false),
            Ast::IsNotTrue(inner) => self.is_bool(inner, true, true),
            Ast::IsFalse(inner) => self.is_bool(inner, false, false),
            Ast::IsNotFalse(inner) => self.is_bool(inner, false, true),
            Ast::IsDistinctFrom(left, right) | Ast::IsNotDistinctFrom(left, right) => {
                let negated = matches!(expr, Ast::IsNotDistinctFrom(..));
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                let (left, right) = self.comparable(left, right, "=")?;
                Ok(boolean(Expr::IsDistinct { left: Box::new(left), right: Box::new(right), negated }))
            }
            Ast::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Ast::InSubquery { expr, subquery, negated } => {
                let left = self.expr(expr)?;
                let any = self.any_sub(Operator::Compare(Comparison::Eq), left, subquery, false)?;
                Ok(boolean(if *negated { Expr::Not(Box::new(any)) } else { any }))
            }
            Ast::Between { expr, negated, low, high } => {
                let (value, low, high) = (self.expr(expr)?, self.expr(low)?, self.expr(high)?);
                let (a, low) = self.comparable(value.clone(), low, ">=")?;
                let (b, high) = self.comparable(value, high, "<=")?;
                let compare = |op, left, right| Expr::Compare { op, left: Box::new(left), right: Box::new(right) };
                let both = Expr::And(vec![compare(Comparison::GtEq, a, low), compare(Comparison::LtEq, b, high)]);
                Ok(boolean(if *negated { Expr::Not(Box::new(both)) } else { both }))
            }
            Ast::BinaryOp { left, op, right } => self.binary(left, op, right),
            Ast::UnaryOp { op, expr } => self.unary(op, expr),
            Ast::Like { negated, any: false, expr, pattern, escape_char } => {
                self.matching(expr, pattern, Matching::Like, false, *negated, escape_char.as_ref())
            }
            Ast::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.matching(expr, pattern, Matching::Like, true, *negated, escape_char.as_ref())
            }
            Ast::AnyOp { left, compare_op, right, .. } => self.any(left, compare_op, right, false),
            Ast::AllOp { left, compare_op, right } => self.any(left, compare_op, right, true),
            Ast::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Ast::Exists { subquery, negated } => {
                let plan = self.sub_query(subquery)?;
                Ok(boolean(Expr::Exists { plan, negated: *negated }))
            }
            Ast::Subquery(query) => {
                let plan = self.sub_query(query)?;
                let [column] = plan.query.columns.as_slice() else {
                    return Err(CatalogError::new("42601", "subquery must return only one column"));
                };
                let (pg_type, typmod, fields) = (column.pg_type, column.typmod, column.fields.clone());
                Ok(Typed { expr: Expr::Scalar(plan), pg_type, typmod, fields })
            }
            Ast::Function(function) => self.function(function),
            Ast::Array(array) => {
                let items = array.elem.iter().map(|item| self.expr(item)).collect::<Result<Vec<_>>>()?;
                let types: Vec<Oid> = items.iter().map(|item| item.pg_type).collect();
                let element = self.common(&types, "ARRAY")?;
                let items = items.into_iter().map(|item| self.coerce(item, element)).collect::<Result<_>>()?;
                Ok(Typed::new(Expr::Array(items), self.catalog.types.array_of(element)))
            }
            Ast::Tuple(items) => {
                let items = items.iter().map(|item| self.expr(item)).collect::<Result<Vec<_>>>()?;
                let fields = (1..).zip(&items).map(|(at, item)| (format!("f{at}"), item.pg_type)).collect();
                let items = items.into_iter().map(|item| item.expr).collect();
                Ok(Typed { expr: Expr::Row(items), pg_type: ty::RECORD, typmod: -1, fields })
            }
            Ast::CompoundFieldAccess { root, access_chain } => {
                let mut value = self.expr(root)?;
                for access in access_chain {
                    value = self.access(value, access)?;
                }
                Ok(value)
            }
            Ast::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = trim_name(trim_where.as_ref());
                let mut args = vec![self.expr(expr)?];
                let what = trim_what.as_deref().into_iter().chain(trim_characters.iter().flatten()).next();
                if let Some(what) = what {
                    args.push(self.expr(what)?);
                }
                self.call(name, args)
            }
            Ast::Substring { expr, substring_from, substring_for, .. } => {
                let mut args = vec![self.expr(expr)?];
                match (substring_from, substring_for) {
                    (Some(from), length) => {
                        args.push(self.expr(from)?);
                        if let Some(length) = length {
                            args.push(self.expr(length)?);
                        }
                    }
                    (None, Some(length)) => {
                        args.push(Typed::new(Expr::Const(Value::Int(1)), ty::INT4));
                        args.push(self.expr(length)?);
                    }
                    (None, None) => {}
                }
                self.call("substring", args)
            }
            Ast::Position { expr, r#in } => {
                let args = vec![self.expr(r#in)?, self.expr(expr)?];
                self.call("strpos", args)
            }
            Ast::SimilarTo { .. } => Err(CatalogError::unsupported("SIMILAR TO")),
            other => Err(CatalogError::unsupported(format!("the expression {other}"))),
        }
    }

    fn identifier(&mut self, name: &ast::Ident) -> Result<Typed> {
        let text = ident(name);
        if let Some(found) = self.column(None, &text)? {
            return Ok(found);
        }
        // Without parentheses these are functions, and reserved.
        if name.quote_style.is_none() && functions::BARE.contains(&text.as_str()) {
            return self.call(&text, Vec::new());
        }
        if let Some(row) = self.whole_row(&text) {
            return Ok(row);
        }
        Err(CatalogError::new("42703", format!("column \"{text}\" does not exist")))
    }

    fn compound(&mut self, names: &[String]) -> Result<Typed> {
        let found = match names {
            [table, column] => match self.column(Some((None, table)), column)? {
                Some(found) => Some(found),
                // A column that is a record, and its field.
                None => match self.column(None, table)? {
                    Some(record) if !record.fields.is_empty() => return self.field(record, column),
                    _ => None,
                },
            },
            [schema, table, column] | [_, schema, table, column] => self.column(Some((Some(schema), table)), column)?,
            _ => None,
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let (column, table) = (names.last().map_or("", String::as_str), names[..names.len() - 1].join("."));
        let known = self.levels.iter().any(|level| level.slots.iter().any(|slot| slot.alias == table));
        Err(if known {
            CatalogError::new("42703", format!("column {table}.{column} does not exist"))
        } else {
            CatalogError::new("42P01", format!("missing FROM-clause entry for table \"{table}\""))
        })
    }

    /// Looks for a column from the innermost level outwards.
    fn column(&mut self, table: Option<(Option<&String>, &String)>, name: &str) -> Result<Option<Typed>> {
        for level in (0..self.levels.len()).rev() {
            let mut found = None;
            for (at, slot) in self.levels[level].slots.iter().enumerate() {
                let named = match table {
                    None => true,
                    Some((None, alias)) => slot.alias == *alias,
                    Some((Some(schema), alias)) => slot.alias == *alias && slot.schema == Some(schema.as_str()),
                };
                if slot.hidden || !named {
                    continue;
                }
                let matching = slot.columns.iter().enumerate().filter(|(column, output)| {
                    output.name == name && (table.is_some() || !slot.merged.contains(column))
                });
                for (column, _) in matching.take(1) {
                    if found.is_some() {
                        return Err(CatalogError::new("42702", format!("column reference \"{name}\" is ambiguous")));
                    }
                    found = Some((at, column));
                }
            }
            if let Some((slot, column)) = found {
                self.used(level, slot, column);
                let up = self.levels.len() - 1 - level;
                let output = &self.levels[level].slots[slot].columns[column];
                return Ok(Some(Typed {
                    expr: Expr::Column { up, slot, column },
                    pg_type: output.pg_type,
                    typmod: output.typmod,
                    fields: output.fields.clone(),
                }));
            }
        }
        Ok(None)
    }

    fn whole_row(&mut self, alias: &str) -> Option<Typed> {
        for level in (0..self.levels.len()).rev() {
            let slots = &self.levels[level].slots;
            if let Some(at) = slots.iter().position(|slot| slot.alias == alias && !slot.hidden) {
                let slot = &slots[at];
                let fields: Vec<(String, Oid)> =
                    slot.columns.iter().take(slot.shown).map(|column| (column.name.clone(), column.pg_type)).collect();
                let up = self.levels.len() - 1 - level;
                let expr = Expr::WholeRow { up, slot: at, width: fields.len() };
                self.used(level, at, usize::MAX);
                return Some(Typed { expr, pg_type: ty::RECORD, typmod: -1, fields });
            }
        }
        None
    }

    fn literal(&mut self, value: &ast::Value) -> Result<Typed> {
        use ast::Value as V;
        let unknown = |text: &str| Typed::new(Expr::Const(Value::text(text)), ty::UNKNOWN);
        Ok(match value {
            V::Null => Typed::new(Expr::Const(Value::Null), ty::UNKNOWN),
            V::Boolean(value) => boolean(Expr::Const(Value::Bool(*value))),
            V::Number(number, _) => match number.parse::<i64>() {
                Ok(int) => {
                    let pg_type = if i32::try_from(int).is_ok() { ty::INT4 } else { ty::INT8 };
                    Typed::new(Expr::Const(Value::Int(int)), pg_type)
                }
                Err(_) => return Err(CatalogError::unsupported(format!("the number {number}"))),
            },
            V::SingleQuotedString(text) | V::EscapedStringLiteral(text) | V::UnicodeStringLiteral(text) => {
                unknown(text)
            }
            V::NationalStringLiteral(text) => unknown(text),
            V::DollarQuotedString(text) => unknown(&text.value),
            V::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
                let at = number.and_then(|number| number.checked_sub(1)).filter(|at| *at < 65_535);
                let at = at.ok_or_else(|| CatalogError::new("42P02", format!("there is no parameter {name}")))?;
                if self.parameters.len() <= at {
                    self.parameters.resize(at + 1, None);
                }
                Typed::new(Expr::Param(at), self.parameters[at].unwrap_or(ty::UNKNOWN))
            }
            other => return Err(CatalogError::unsupported(format!("the literal {other}"))),
        })
    }

    /// Brings a value to a type, without asking whether that is implicit.
    pub fn coerce(&mut self, value: Typed, to: Oid) -> Result<Expr> {
        if value.pg_type == to || to == ty::ANY {
            return Ok(value.expr);
        }
        if let (Expr::Param(at), ty::UNKNOWN) = (&value.expr, value.pg_type) {
            let known = *self.parameters[*at].get_or_insert(if to == ty::UNKNOWN { ty::TEXT } else { to });
            return Ok(if known == to {
                value.expr
            } else {
                Expr::Cast { expr: Box::new(value.expr), from: known, to, typmod: -1 }
            });
        }
        if let (Expr::Const(constant), ty::UNKNOWN) = (&value.expr, value.pg_type) {
            return Ok(match constant {
                Value::Text(text) if !ty::is_reg(to) => Expr::Const(casts::parse(&self.catalog.types, text, to)?),
                Value::Text(_) => Expr::Cast { expr: Box::new(value.expr), from: ty::UNKNOWN, to, typmod: -1 },
                _ => value.expr,
            });
        }
        Ok(Expr::Cast { expr: Box::new(value.expr), from: value.pg_type, to, typmod: -1 })
    }

    fn cast(&mut self, value: Typed, data_type: &ast::DataType) -> Result<Typed> {
        let name = data_type.to_string();
        let (to, typmod) =
            self.catalog.types.parse(&name).ok_or_else(|| {
                CatalogError::new("42704", format!("type \"{}\" does not exist", name.to_lowercase()))
            })?;
        // A domain's constraint is not checked; its values are those of the type below.
        let (to, _) = self.catalog.types.base(to, typmod);
        if value.pg_type == ty::UNKNOWN || (value.pg_type == to && typmod < 0) {
            let expr = self.coerce(value, to)?;
            let expr = if typmod < 0 { expr } else { Expr::Cast { expr: Box::new(expr), from: to, to, typmod } };
            return Ok(Typed { expr, pg_type: to, typmod, fields: Vec::new() });
        }
        if !casts::exists(&self.catalog.types, value.pg_type, to) {
            let shown = |oid| self.catalog.types.format(oid, None);
            return Err(CatalogError::new(
                "42846",
                format!("cannot cast type {} to {}", shown(value.pg_type), shown(to)),
            ));
        }
        let expr = Expr::Cast { expr: Box::new(value.expr), from: value.pg_type, to, typmod };
        Ok(Typed { expr, pg_type: to, typmod, fields: Vec::new() })
    }

    fn is_bool(&mut self, expr: &Ast, value: bool, negated: bool) -> Result<Typed> {
        let inner = self.expr(expr)?;
        let inner = self.coerce(inner, ty::BOOL)?;
        Ok(boolean(Expr::IsBool { expr: Box::new(inner), value, negated }))
    }

    /// Makes two operands comparable, or says that PostgreSQL has no such operator.
    pub fn comparable(&mut self, left: Typed, right: Typed, operator: &str) -> Result<(Expr, Expr)> {
        let (a, b) = (left.pg_type, right.pg_type);
        // A literal takes the other side's type; beside a name it stays text, so that it is not cut to 63 bytes.
        let beside = |other: Oid| if ty::is_text(other) { ty::TEXT } else { other };
        match (a, b) {
            (ty::UNKNOWN, ty::UNKNOWN) => return Ok((self.coerce(left, ty::TEXT)?, self.coerce(right, ty::TEXT)?)),
            (ty::UNKNOWN, other) => return Ok((self.coerce(left, beside(other))?, right.expr)),
            (other, ty::UNKNOWN) => return Ok((left.expr, self.coerce(right, beside(other))?)),
            _ => {}
        }
        let types = &self.catalog.types;
        let number = |oid| ty::is_integer(oid) || matches!(oid, ty::FLOAT4 | ty::FLOAT8 | ty::NUMERIC);
        let time = |oid| matches!(oid, ty::TIMESTAMP | ty::TIMESTAMPTZ);
        let same = a == b
            || (number(a) && number(b))
            || (ty::is_text(a) && ty::is_text(b))
            || (time(a) && time(b))
            || match (types.element_of(a), types.element_of(b)) {
                (Some(x), Some(y)) => x == y || (ty::is_text(x) && ty::is_text(y)) || (number(x) && number(y)),
                _ => false,
            };
        if same {
            return Ok((left.expr, right.expr));
        }
        match (a, b) {
            (ty::REGCLASS, text) if ty::is_text(text) => Ok((left.expr, self.coerce(right, ty::REGCLASS)?)),
            (text, ty::REGCLASS) if ty::is_text(text) => Ok((self.coerce(left, ty::REGCLASS)?, right.expr)),
            _ => Err(self.no_operator(a, operator, b)),
        }
    }

    fn no_operator(&self, left: Oid, operator: &str, right: Oid) -> CatalogError {
        let shown = |oid| self.catalog.types.format(oid, None);
        let message = format!("operator does not exist: {} {operator} {}", shown(left), shown(right));
        let mut error = CatalogError::new("42883", message);
        let hint = "No operator matches the given name and argument types. You might need to add explicit type casts.";
        error.hint = Some(hint.to_owned());
        error
    }

    fn common(&self, types: &[Oid], construct: &str) -> Result<Oid> {
        self.catalog.types.common(types).ok_or_else(|| {
            let shown: Vec<String> = types
                .iter()
                .filter(|oid| **oid != ty::UNKNOWN)
                .map(|oid| self.catalog.types.format(*oid, None))
                .collect();
            CatalogError::new("42804", format!("{construct} types {} cannot be matched", shown.join(" and ")))
        })
    }

    fn in_list(&mut self, expr: &Ast, list: &[Ast], negated: bool) -> Result<Typed> {
        let left = self.expr(expr)?;
        let mut items = Vec::new();
        let mut subject = None;
        for item in list {
            let item = self.expr(item)?;
            let (value, item) = self.comparable(left.clone(), item, "=")?;
            subject = Some(value);
            items.push(item);
        }
        let expr = Box::new(subject.unwrap_or(left.expr));
        Ok(boolean(Expr::InList { expr, list: items, negated }))
    }

    fn any_sub(&mut self, op: Operator, left: Typed, query: &Query, all: bool) -> Result<Expr> {
        let plan = self.sub_query(query)?;
        let [column] = plan.query.columns.as_slice() else {
            return Err(CatalogError::new("42601", "subquery has too many columns"));
        };
        let right = Typed::new(Expr::Const(Value::Null), column.pg_type);
        let (left, _) = match op {
            Operator::Compare(_) => self.comparable(left, right, "=")?,
            Operator::Match { .. } => (self.coerce(left, ty::TEXT)?, right.expr),
        };
        Ok(Expr::AnySub { op, left: Box::new(left), plan, all })
    }

    fn any(&mut self, left: &Ast, op: &BinaryOperator, right: &Ast, all: bool) -> Result<Typed> {
        let op = operator(op).ok_or_else(|| CatalogError::unsupported(format!("{op} with ANY")))?;
        let left = self.expr(left)?;
        let inner = strip(right);
        if let Ast::Subquery(query) = inner {
            return self.any_sub(op, left, query, all).map(boolean);
        }
        let mut array = self.expr(inner)?;
        if array.pg_type == ty::UNKNOWN {
            let element = if ty::is_text(left.pg_type) { ty::TEXT } else { left.pg_type };
            let to = self.catalog.types.array_of(element);
            array = Typed::new(self.coerce(array, to)?, to);
        }
        let Some(element) = self.catalog.types.element_of(array.pg_type) else {
            return Err(CatalogError::new("42809", "op ANY/ALL (array) requires array on right side"));
        };
        let item = Typed::new(Expr::Const(Value::Null), element);
        let (left, _) = match op {
            Operator::Compare(_) => self.comparable(left, item, "=")?,
            Operator::Match { .. } => (self.coerce(left, ty::TEXT)?, item.expr),
        };
        Ok(boolean(Expr::Any { op, left: Box::new(left), array: Box::new(array.expr), all }))
    }

    fn binary(&mut self, left: &Ast, op: &BinaryOperator, right: &Ast) -> Result<Typed> {
        if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
            let mut parts = Vec::new();
            // Left-deep chains are walked, not recursed into: tools write lists of a thousand OIDs as OR.
            let mut chain = vec![right];
            let mut rest = left;
            while let Ast::BinaryOp { left, op: inner, right } = rest
                && inner == op
            {
                chain.push(right);
                rest = left;
            }
            chain.push(rest);
            for part in chain.into_iter().rev() {
                let part = self.expr(part)?;
                if !matches!(part.pg_type, ty::BOOL | ty::UNKNOWN) {
                    let shown = self.catalog.types.format(part.pg_type, None);
                    return Err(CatalogError::new(
                        "42804",
                        format!("argument of {op} must be type boolean, not type {shown}"),
                    ));
                }
                parts.push(self.coerce(part, ty::BOOL)?);
            }
            return Ok(boolean(if *op == BinaryOperator::And { Expr::And(parts) } else { Expr::Or(parts) }));
        }
        match operator(op) {
            Some(Operator::Compare(comparison)) => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                let (left, right) = self.comparable(left, right, &op.to_string())?;
                return Ok(boolean(Expr::Compare { op: comparison, left: Box::new(left), right: Box::new(right) }));
            }
            Some(Operator::Match { kind, insensitive, negated }) => {
                return self.matching(left, right, kind, insensitive, negated, None);
            }
            None => {}
        }
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        match named_operator(op).as_str() {
            "||" => self.concat(left, right),
            sign @ ("+" | "-" | "*" | "/" | "%" | "&" | "|") => self.arithmetic(sign, left, right),
            "@>" => self.call("array_contains_all", vec![left, right]),
            "<@" => self.call("array_contains_all", vec![right, left]),
            "&&" => self.call("array_overlaps", vec![left, right]),
            other => Err(CatalogError::unsupported(format!("the operator {other}"))),
        }
    }

    fn arithmetic(&mut self, sign: &str, left: Typed, right: Typed) -> Result<Typed> {
        let types = [left.pg_type, right.pg_type];
        let pg_type = match types {
            [ty::UNKNOWN, other] | [other, ty::UNKNOWN] => other,
            [ty::OID, _] | [_, ty::OID] => ty::INT8,
            _ => self.common(&types, sign)?,
        };
        let exact = matches!(pg_type, ty::INT2 | ty::INT4 | ty::INT8);
        if !exact && (pg_type != ty::FLOAT8 || matches!(sign, "%" | "&" | "|")) {
            return Err(self.no_operator(types[0], sign, types[1]));
        }
        let (left, right) = (self.coerce(left, pg_type)?, self.coerce(right, pg_type)?);
        let op = sign.chars().next().unwrap_or('+');
        let expr = Expr::Arithmetic { op, left: Box::new(left), right: Box::new(right) };
        // The result is checked against the width of its type.
        let expr =
            if exact { Expr::Cast { expr: Box::new(expr), from: ty::INT8, to: pg_type, typmod: -1 } } else { expr };
        Ok(Typed::new(expr, pg_type))
    }

    fn concat(&mut self, left: Typed, right: Typed) -> Result<Typed> {
        let types = &self.catalog.types;
        let array = |typed: &Typed| types.element_of(typed.pg_type).filter(|_| !ty::is_text(typed.pg_type));
        let pg_type = match (array(&left), array(&right)) {
            (Some(_), Some(_)) => left.pg_type,
            (Some(_), None) => left.pg_type,
            (None, Some(_)) => right.pg_type,
            (None, None) => {
                if !ty::is_text(left.pg_type) && !ty::is_text(right.pg_type) {
                    return Err(self.no_operator(left.pg_type, "||", right.pg_type));
                }
                let (left, right) = (self.coerce(left, AS_TEXT)?, self.coerce(right, AS_TEXT)?);
                let expr = Expr::Concat { left: Box::new(left), right: Box::new(right) };
                return Ok(Typed::new(expr, ty::TEXT));
            }
        };
        // `array || 'x'`: an untyped literal is an array in PostgreSQL too; another value is an element.
        let side = |binder: &mut Self, side: Typed| match side.pg_type {
            ty::UNKNOWN => binder.coerce(side, pg_type),
            _ => Ok(side.expr),
        };
        let (left, right) = (side(self, left)?, side(self, right)?);
        Ok(Typed::new(Expr::Concat { left: Box::new(left), right: Box::new(right) }, pg_type))
    }

    fn matching(
        &mut self,
        left: &Ast,
        right: &Ast,
        kind: Matching,
        insensitive: bool,
        negated: bool,
        escape: Option<&ast::ValueWithSpan>,
    ) -> Result<Typed> {
        let escape = match escape.map(|value| &value.value) {
            None => Some('\\'),
            Some(ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text)) => text.chars().next(),
            Some(other) => return Err(CatalogError::unsupported(format!("ESCAPE {other}"))),
        };
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        for side in [&left, &right] {
            if !ty::is_text(side.pg_type) {
                return Err(self.no_operator(
                    left.pg_type,
                    if kind == Matching::Like { "~~" } else { "~" },
                    right.pg_type,
                ));
            }
        }
        let (left, right) = (self.coerce(left, ty::TEXT)?, self.coerce(right, ty::TEXT)?);
        Ok(boolean(Expr::Match {
            pattern_kind: kind,
            expr: Box::new(left),
            pattern: Box::new(right),
            escape,
            insensitive,
            negated,
        }))
    }

    fn unary(&mut self, op: &UnaryOperator, expr: &Ast) -> Result<Typed> {
        let inner = self.expr(expr)?;
        match op {
            UnaryOperator::Not => {
                let inner = self.coerce(inner, ty::BOOL)?;
                Ok(boolean(Expr::Not(Box::new(inner))))
            }
            UnaryOperator::Plus => Ok(inner),
            UnaryOperator::Minus => {
                if let Expr::Const(Value::Int(int)) = inner.expr {
                    return Ok(Typed::new(Expr::Const(Value::Int(int.wrapping_neg())), inner.pg_type));
                }
                let zero = Typed::new(Expr::Const(Value::Int(0)), ty::INT2);
                self.arithmetic("-", zero, inner)
            }
            _ => Err(CatalogError::unsupported(format!("the operator {op}"))),
        }
    }

    fn case(&mut self, operand: Option<&Ast>, branches: &[ast::CaseWhen], otherwise: Option<&Ast>) -> Result<Typed> {
        let operand = operand.map(|operand| self.expr(operand)).transpose()?;
        let mut conditions = Vec::new();
        let mut results = Vec::new();
        for branch in branches {
            let condition = self.expr(&branch.condition)?;
            conditions.push(match &operand {
                None => self.coerce(condition, ty::BOOL)?,
                Some(operand) => {
                    let (left, right) = self.comparable(operand.clone(), condition, "=")?;
                    Expr::Compare { op: Comparison::Eq, left: Box::new(left), right: Box::new(right) }
                }
            });
            results.push(self.expr(&branch.result)?);
        }
        let otherwise = otherwise.map(|otherwise| self.expr(otherwise)).transpose()?;
        let types: Vec<Oid> = results.iter().chain(&otherwise).map(|typed| typed.pg_type).collect();
        let pg_type = self.common(&types, "CASE")?;
        let results = results.into_iter().map(|result| self.coerce(result, pg_type)).collect::<Result<Vec<_>>>()?;
        let otherwise = match otherwise {
            Some(otherwise) => Some(Box::new(self.coerce(otherwise, pg_type)?)),
            None => None,
        };
        Ok(Typed::new(Expr::Case { branches: conditions.into_iter().zip(results).collect(), otherwise }, pg_type))
    }

    fn access(&mut self, value: Typed, access: &AccessExpr) -> Result<Typed> {
        match access {
            AccessExpr::Dot(Ast::Identifier(name)) => self.field(value, &ident(name)),
            AccessExpr::Dot(other) => Err(CatalogError::unsupported(format!("the field {other}"))),
            AccessExpr::Subscript(subscript) => {
                let Some(element) = self.catalog.types.element_of(value.pg_type) else {
                    let shown = self.catalog.types.format(value.pg_type, None);
                    let text = format!("cannot subscript type {shown} because it does not support subscripting");
                    return Err(CatalogError::new("42804", text));
                };
                let array = Box::new(value.expr);
                let mut number = |index: &Ast| {
                    let index = self.expr(index)?;
                    self.coerce(index, ty::INT4).map(Box::new)
                };
                match subscript {
                    Subscript::Index { index } => {
                        let index = number(index)?;
                        Ok(Typed::new(Expr::Index { array, index }, element))
                    }
                    Subscript::Slice { lower_bound, upper_bound, .. } => {
                        let lower = lower_bound.as_ref().map(&mut number).transpose()?;
                        let upper = upper_bound.as_ref().map(&mut number).transpose()?;
                        Ok(Typed::new(Expr::Slice { array, lower, upper }, value.pg_type))
                    }
                }
            }
        }
    }

    fn field(&self, record: Typed, name: &str) -> Result<Typed> {
        let at =
            record.fields.iter().position(|(field, _)| field == name).ok_or_else(|| {
                CatalogError::new("42703", format!("column \"{name}\" not found in data type record"))
            })?;
        let pg_type = record.fields[at].1;
        Ok(Typed::new(Expr::Field { expr: Box::new(record.expr), at }, pg_type))
    }
}

fn boolean(expr: Expr) -> Typed {
    Typed::new(expr, ty::BOOL)
}

/// The expression inside parentheses.
fn strip(expr: &Ast) -> &Ast {
    match expr {
        Ast::Nested(inner) => strip(inner),
        other => other,
    }
}

/// An operator's symbol; `OPERATOR(pg_catalog.~)` is `~`.
fn named_operator(op: &BinaryOperator) -> String {
    match op {
        BinaryOperator::PGCustomBinaryOperator(parts) => parts.last().cloned().unwrap_or_default(),
        other => other.to_string(),
    }
}

/// Comparisons and pattern matches.
fn operator(op: &BinaryOperator) -> Option<Operator> {
    let matching = |kind, insensitive, negated| Operator::Match { kind, insensitive, negated };
    Some(match named_operator(op).as_str() {
        "=" => Operator::Compare(Comparison::Eq),
        "<>" | "!=" => Operator::Compare(Comparison::NotEq),
        "<" => Operator::Compare(Comparison::Lt),
        "<=" => Operator::Compare(Comparison::LtEq),
        ">" => Operator::Compare(Comparison::Gt),
        ">=" => Operator::Compare(Comparison::GtEq),
        "~" => matching(Matching::Regex, false, false),
        "~*" => matching(Matching::Regex, true, false),
        "!~" => matching(Matching::Regex, false, true),
        "!~*" => matching(Matching::Regex, true, true),
        "~~" => matching(Matching::Like, false, false),
        "~~*" => matching(Matching::Like, true, false),
        "!~~" => matching(Matching::Like, false, true),
        "!~~*" => matching(Matching::Like, true, true),
        _ => return None,
    })
}

fn trim_name(place: Option<&TrimWhereField>) -> &'static str {
    match place {
        Some(TrimWhereField::Leading) => "ltrim",
        Some(TrimWhereField::Trailing) => "rtrim",
        Some(TrimWhereField::Both) | None => "btrim",
    }
}

/// The name that PostgreSQL gives a column without an alias.
pub fn column_name(expr: &Ast) -> String {
    figure(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// A name, and whether it is the expression's own; a type's name or `case` gives way to what stands inside.
fn figure(expr: &Ast) -> Option<(String, bool)> {
    let own = |name: &str| Some((name.to_owned(), true));
    match expr {
        Ast::Identifier(name) => Some((ident(name), true)),
        Ast::CompoundIdentifier(names) => names.last().map(|name| (ident(name), true)),
        Ast::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Ast::Identifier(name)) => Some((ident(name), true)),
                _ => None,
            });
            field.or_else(|| figure(root))
        }
        Ast::Nested(inner) | Ast::Collate { expr: inner, .. } => figure(inner),
        Ast::Function(function) => {
            let (_, name) = object_name(&function.name).ok()?;
            Some((name, true))
        }
        Ast::Cast { expr, data_type, .. } => {
            figure(expr).filter(|(_, own)| *own).or_else(|| Some((type_name(data_type), false)))
        }
        Ast::TypedString(typed) => Some((type_name(&typed.data_type), false)),
        Ast::Case { else_result, .. } => {
            let inner = else_result.as_deref().and_then(figure).filter(|(_, own)| *own);
            inner.or_else(|| Some(("case".to_owned(), false)))
        }
        Ast::Exists { negated: false, .. } => own("exists"),
        Ast::Array(_) => own("array"),
        Ast::Tuple(_) => own("row"),
        Ast::Trim { trim_where, .. } => own(trim_name(trim_where.as_ref())),
        Ast::Substring { .. } => own("substring"),
        Ast::Position { .. } => own("position"),
        Ast::Subquery(query) => match &*query.body {
            ast::SetExpr::Select(select) => match select.projection.first()? {
                ast::SelectItem::UnnamedExpr(expr) => figure(expr),
                ast::SelectItem::ExprWithAlias { alias, .. } => Some((ident(alias), true)),
                _ => None,
            },
            ast::SetExpr::Values(_) => own("column1"),
            _ => None,
        },
        _ => None,
    }
}

/// The last part of a type's internal name.
fn type_name(data_type: &ast::DataType) -> String {
    let text = data_type.to_string().to_lowercase();
    let text = text.strip_suffix("[]").unwrap_or(&text);
    let text = text.split('(').next().unwrap_or(text).trim();
    let name = match text {
        "boolean" => "bool",
        "smallint" => "int2",
        "integer" | "int" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "double precision" | "float" => "float8",
        "decimal" => "numeric",
        "character varying" => "varchar",
        "character" | "char" => "bpchar",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        other => other.rsplit('.').next().unwrap_or(other),
    };
    name.trim_matches('"').to_owned()
}
