//! Turns one DataFusion expression into text for a source, or says that it must stay here.

use datafusion::arrow::array::Array as _;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{AggregateFunction, Between, BinaryExpr, Case, InList, Like, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use datafusion::scalar::ScalarValue;

use super::fragment::Fragment;
use super::rules::{AggregateForm, Call, Comparison, Form, Rules, SqlType, Term};
use super::select::Output;

/// What an expression may refer to: the columns of `schema`, which are `columns` at the source.
pub(crate) struct Scope<'a> {
    pub rules: &'static dyn Rules,
    pub schema: &'a DFSchema,
    pub columns: &'a [Output],
}

impl Scope<'_> {
    /// The text of `expr`, or `None` where the source would not compute it with the same meaning.
    pub fn term(&self, expr: &Expr) -> Option<Term> {
        match expr {
            Expr::Alias(alias) => self.term(&alias.expr),
            Expr::Column(column) => {
                let output = &self.columns[self.schema.maybe_index_of_column(column)?];
                Some(Term { sql: output.sql.clone(), ty: SqlType::of(&output.field), code_point: output.code_point })
            }
            Expr::Literal(value, metadata) => {
                if metadata.as_ref().is_some_and(|metadata| metadata.inner().contains_key(belvedere_functions::PG_TYPE))
                {
                    return None;
                }
                self.literal(value)
            }
            Expr::BinaryExpr(binary) => self.binary(binary),
            Expr::Like(like) => self.like(like),
            Expr::Not(inner) => self.predicate("(NOT ", inner, ")"),
            Expr::IsNull(inner) => self.null_test(inner, " IS NULL)"),
            Expr::IsNotNull(inner) => self.null_test(inner, " IS NOT NULL)"),
            Expr::IsTrue(inner) => self.predicate("(", inner, " IS TRUE)"),
            Expr::IsFalse(inner) => self.predicate("(", inner, " IS FALSE)"),
            Expr::IsUnknown(inner) => self.predicate("(", inner, " IS UNKNOWN)"),
            Expr::IsNotTrue(inner) => self.predicate("(", inner, " IS NOT TRUE)"),
            Expr::IsNotFalse(inner) => self.predicate("(", inner, " IS NOT FALSE)"),
            Expr::IsNotUnknown(inner) => self.predicate("(", inner, " IS NOT UNKNOWN)"),
            Expr::Between(between) => self.between(between),
            Expr::InList(list) => self.in_list(list),
            Expr::Case(case) => self.case(case),
            Expr::Cast(cast) => {
                let to = SqlType::of(&cast.field);
                let term = self.term(&cast.expr)?;
                let sql = self.rules.cast(&term, to)?;
                Some(Term { sql, ty: to, code_point: term.code_point })
            }
            Expr::ScalarFunction(function) => self.function(function),
            // Wraps where PostgreSQL fails; users' minus is `pg_neg`.
            Expr::Negative(_) => None,
            // Sub-queries and what only the binder or other stages know.
            _ => None,
        }
    }

    /// The text of a condition.
    pub fn condition(&self, expr: &Expr) -> Option<Fragment> {
        let term = self.term(expr)?;
        (term.ty == SqlType::Bool).then_some(term.sql)
    }

    fn literal(&self, value: &ScalarValue) -> Option<Term> {
        let ty = SqlType::of_arrow(&value.data_type());
        if value.is_null() {
            if ty == SqlType::Other {
                return None;
            }
            return Some(Term { sql: self.rules.null(ty)?, ty, code_point: true });
        }
        let sql = self.rules.parameter(value, ty)?;
        let code_point = ty != SqlType::Text || self.rules.computed_text_by_code_point();
        Some(Term { sql, ty, code_point })
    }

    fn binary(&self, binary: &BinaryExpr) -> Option<Term> {
        let comparison = match binary.op {
            Operator::And => return self.connect(binary, " AND "),
            Operator::Or => return self.connect(binary, " OR "),
            Operator::Eq => Comparison::Eq,
            Operator::NotEq => Comparison::NotEq,
            Operator::Lt => Comparison::Lt,
            Operator::LtEq => Comparison::LtEq,
            Operator::Gt => Comparison::Gt,
            Operator::GtEq => Comparison::GtEq,
            Operator::IsDistinctFrom => Comparison::DistinctFrom,
            Operator::IsNotDistinctFrom => Comparison::NotDistinctFrom,
            // DataFusion's arithmetic wraps or rounds where PostgreSQL fails; its regular expressions are its own.
            _ => return None,
        };
        let left = self.term(&binary.left)?;
        let right = self.term(&binary.right)?;
        Some(boolean(self.rules.compare(comparison, &left, &right)?))
    }

    fn connect(&self, binary: &BinaryExpr, operator: &'static str) -> Option<Term> {
        let left = self.condition(&binary.left)?;
        let right = self.condition(&binary.right)?;
        Some(boolean(Fragment::infix(&left, operator, &right)))
    }

    fn predicate(&self, before: &'static str, inner: &Expr, after: &'static str) -> Option<Term> {
        let inner = self.condition(inner)?;
        Some(boolean(Fragment::new().sql(before).then(&inner).sql(after)))
    }

    fn null_test(&self, inner: &Expr, after: &'static str) -> Option<Term> {
        let inner = self.term(inner)?;
        Some(boolean(Fragment::new().sql("(").then(&inner.sql).sql(after)))
    }

    fn between(&self, between: &Between) -> Option<Term> {
        let tested = self.term(&between.expr)?;
        // It is written twice.
        tested.sql.as_column()?;
        let (low, high) = (self.term(&between.low)?, self.term(&between.high)?);
        let (above, below, operator) = if between.negated {
            (Comparison::Lt, Comparison::Gt, " OR ")
        } else {
            (Comparison::GtEq, Comparison::LtEq, " AND ")
        };
        let low = self.rules.compare(above, &tested, &low)?;
        let high = self.rules.compare(below, &tested, &high)?;
        Some(boolean(Fragment::infix(&low, operator, &high)))
    }

    fn in_list(&self, list: &InList) -> Option<Term> {
        let tested = self.term(&list.expr)?;
        let items: Option<Vec<ScalarValue>> = list
            .list
            .iter()
            .map(|item| match item {
                Expr::Literal(value, _) if !value.is_null() && SqlType::of_arrow(&value.data_type()) == tested.ty => {
                    Some(value.clone())
                }
                _ => None,
            })
            .collect();
        let items = items.filter(|items| !items.is_empty())?;
        Some(boolean(self.rules.in_list(&tested, &items, list.negated)?))
    }

    fn like(&self, like: &Like) -> Option<Term> {
        if like.case_insensitive || !matches!(like.escape_char, None | Some('\\')) {
            return None;
        }
        let text = self.term(&like.expr)?;
        let pattern = super::rules::text_literal(&like.pattern)?;
        Some(boolean(self.rules.like(&text, pattern, like.negated)?))
    }

    fn case(&self, case: &Case) -> Option<Term> {
        let tested = match &case.expr {
            None => None,
            Some(expr) => {
                let tested = self.term(expr)?;
                // It is written once for every WHEN.
                tested.sql.as_column()?;
                Some(tested)
            }
        };
        let mut sql = Fragment::new().sql("(CASE");
        let mut ty: Option<SqlType> = None;
        let mut value = |sql: Fragment, lead: &'static str, expr: &Expr| {
            if matches!(expr, Expr::Literal(ScalarValue::Null, _)) {
                return Some(sql.sql(lead).sql("NULL"));
            }
            let term = self.term(expr)?;
            if term.ty == SqlType::Other || ty.is_some_and(|ty| ty != term.ty) {
                return None;
            }
            ty = Some(term.ty);
            // Where collations meet, the source may choose another one or fail.
            let key = if term.ty == SqlType::Text { self.rules.key(&term)? } else { term.sql };
            Some(sql.sql(lead).then(&key))
        };
        for (when, then) in &case.when_then_expr {
            let when = match &tested {
                None => self.condition(when)?,
                Some(tested) => self.rules.compare(Comparison::Eq, tested, &self.term(when)?)?,
            };
            sql = value(sql.sql(" WHEN ").then(&when), " THEN ", then)?;
        }
        if let Some(otherwise) = &case.else_expr {
            sql = value(sql, " ELSE ", otherwise)?;
        }
        Some(Term { sql: sql.sql(" END)"), ty: ty?, code_point: true })
    }

    fn function(&self, function: &ScalarFunction) -> Option<Term> {
        if function.name() == "pg_eq_any" {
            return self.eq_any(&function.args);
        }
        let row = self.rules.functions().iter().find(|row| row.name == function.name())?;
        if let Form::Silent(reason) = row.form {
            tracing::trace!(function = row.name, reason, "stays here");
            return None;
        }
        let terms: Vec<Term> = function.args.iter().map(|argument| self.term(argument)).collect::<Option<_>>()?;
        let types: Vec<SqlType> = terms.iter().map(|term| term.ty).collect();
        if types.is_empty() || !(row.takes)(&types) {
            return None;
        }
        let (_, result) = Expr::ScalarFunction(function.clone()).to_field(self.schema).ok()?;
        let result = SqlType::of(&result);
        let call = Call { arguments: &function.args, terms: &terms, result };
        let sql = match &row.form {
            Form::Infix(operator) => {
                let [left, right] = terms.as_slice() else { return None };
                Fragment::infix(&left.sql, operator, &right.sql)
            }
            Form::Prefix(operator) => {
                let [operand] = terms.as_slice() else { return None };
                Fragment::new().sql("(").sql(operator).then(&operand.sql).sql(")")
            }
            Form::Call(name) => Fragment::call(name, terms.iter().map(|term| &term.sql)),
            Form::Custom(write) => write(&call)?,
            Form::Silent(_) => return None,
        };
        if result == SqlType::Other {
            return None;
        }
        // Which collation a function's text has is the source's affair: say by code point where it matters.
        let code_point = result != SqlType::Text
            || (self.rules.computed_text_by_code_point() && terms.iter().all(|term| term.code_point));
        Some(Term { sql, ty: result, code_point })
    }

    /// `x = ANY (array)` with a literal array: as IN.
    fn eq_any(&self, arguments: &[Expr]) -> Option<Term> {
        let [tested, Expr::Literal(ScalarValue::List(list), _)] = arguments else { return None };
        let tested = self.term(tested)?;
        let array = list.is_valid(0).then(|| list.value(0))?;
        let items: Vec<ScalarValue> =
            (0..array.len()).map(|index| ScalarValue::try_from_array(&array, index).ok()).collect::<Option<_>>()?;
        let same = |item: &ScalarValue| !item.is_null() && SqlType::of_arrow(&item.data_type()) == tested.ty;
        if items.is_empty() || !items.iter().all(same) {
            return None;
        }
        Some(boolean(self.rules.in_list(&tested, &items, false)?))
    }

    /// The text of an aggregate whose result has the type `result`.
    pub fn aggregate(&self, expr: &Expr, result: SqlType) -> Option<Term> {
        let function = match expr {
            Expr::Alias(alias) => return self.aggregate(&alias.expr, result),
            Expr::AggregateFunction(function) => function,
            _ => return None,
        };
        let AggregateFunction { func, params } = function;
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return None;
        }
        let row = self.rules.aggregates().iter().find(|row| row.name == func.name())?;
        if let AggregateForm::Silent(reason) = row.form {
            tracing::trace!(aggregate = row.name, reason, "stays here");
            return None;
        }
        let condition = match &params.filter {
            None => None,
            Some(filter) => Some(self.condition(filter)?),
        };
        // `count(*)`: arrives as the count of a literal, or of nothing.
        let rows = match params.args.as_slice() {
            [] => true,
            [Expr::Literal(value, _)] => !value.is_null() && !params.distinct,
            [_] => false,
            _ => return None,
        };
        if rows {
            if !matches!(row.form, AggregateForm::Count) || !(row.takes)(SqlType::Int8, result) {
                return None;
            }
            let sql = match condition {
                None => Fragment::keyword("count(*)"),
                Some(condition) => Fragment::new().sql("count(CASE WHEN ").then(&condition).sql(" THEN 1 END)"),
            };
            return Some(Term { sql, ty: result, code_point: true });
        }

        let argument = self.term(&params.args[0])?;
        if !(row.takes)(argument.ty, result) {
            return None;
        }
        let mut code_point = true;
        let (name, value) = match row.form {
            AggregateForm::Count if params.distinct => ("count", self.rules.key(&argument)?),
            AggregateForm::Count => ("count", argument.sql.clone()),
            AggregateForm::Plain(name) => {
                code_point = result != SqlType::Text;
                (name, argument.sql.clone())
            }
            AggregateForm::Extreme(name) => {
                let text = argument.ty == SqlType::Text;
                (name, if text { self.rules.by_code_point(&argument.sql) } else { argument.sql.clone() })
            }
            AggregateForm::Silent(_) => return None,
        };
        let value = match condition {
            None => value,
            Some(condition) => {
                Fragment::new().sql("CASE WHEN ").then(&condition).sql(" THEN ").then(&value).sql(" END")
            }
        };
        let mut sql =
            Fragment::new().sql(name).sql(if params.distinct { "(DISTINCT " } else { "(" }).then(&value).sql(")");
        if matches!(row.form, AggregateForm::Plain(_)) {
            sql = self.rules.checked_sum(sql, result);
        }
        Some(Term { sql, ty: result, code_point })
    }
}

fn boolean(sql: Fragment) -> Term {
    Term { sql, ty: SqlType::Bool, code_point: true }
}
