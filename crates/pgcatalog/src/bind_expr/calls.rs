//! Calls in expressions: functions, aggregates, windows, and functions that give rows.

use datafusion::sql::sqlparser::ast::{
    self, Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, OrderByExpr, WindowType,
};

use crate::bind::{Binder, Typed, object_name};
use crate::error::{CatalogError, Result};
use crate::functions::{self, ARRAY_AS_TEXT};
use crate::pg_types::{self as ty, Oid};
use crate::plan::{AggregateCall, AggregateKind, Expr, SetFunction, WindowCall, WindowKind};
use crate::value::Value;

/// A set-returning function with its arguments bound, and the columns of its rows; one with an empty name is a plain value.
pub struct SetCall {
    pub function: SetFunction,
    pub args: Vec<Expr>,
    pub columns: Vec<(String, Oid)>,
}

impl Binder<'_> {
    pub(super) fn function(&mut self, function: &ast::Function) -> Result<Typed> {
        let (schema, name) = object_name(&function.name)?;
        if schema.as_deref().is_some_and(|schema| !matches!(schema, "pg_catalog" | "information_schema")) {
            let schema = schema.unwrap_or_default();
            return Err(CatalogError::new("42883", format!("function {schema}.{name} does not exist")));
        }
        if !function.within_group.is_empty() {
            return Err(CatalogError::unsupported("WITHIN GROUP"));
        }
        let list = match &function.args {
            FunctionArguments::None => return self.call(&name, Vec::new()),
            FunctionArguments::Subquery(query) if name == "array" => {
                let plan = self.sub_query(query)?;
                let [column] = plan.query.columns.as_slice() else {
                    return Err(CatalogError::new("42601", "subquery must return only one column"));
                };
                let pg_type = self.catalog.types.array_of(column.pg_type);
                return Ok(Typed::new(Expr::ArrayOf(plan), pg_type));
            }
            FunctionArguments::Subquery(_) => {
                return Err(CatalogError::unsupported("a sub-query as the only argument"));
            }
            FunctionArguments::List(list) => list,
        };
        let mut star = false;
        let mut args: Vec<&Ast> = Vec::new();
        let mut rows = Vec::new();
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(expr),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => star = true,
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                    let (_, alias) = object_name(name)?;
                    rows.push(self.whole_row(&alias).ok_or_else(|| {
                        CatalogError::new("42P01", format!("missing FROM-clause entry for table \"{alias}\""))
                    })?);
                }
                _ => return Err(CatalogError::unsupported("a named argument")),
            }
        }
        if let Some(over) = &function.over {
            return self.window(&name, star, over);
        }
        if let Some(kind) = aggregate(&name, star) {
            return self.aggregate(kind, &name, &args, list, function.filter.as_deref());
        }
        let mut bound = args.into_iter().map(|arg| self.expr(arg)).collect::<Result<Vec<_>>>()?;
        bound.extend(rows);
        if let Some(set) = self.set_function_named(&name, bound.clone())? {
            if !self.level().allows_srfs {
                let text = "set-returning functions are not allowed here";
                return Err(CatalogError::new("0A000", text));
            }
            self.level_mut().srfs.push((set.function, set.args));
            let expr = Expr::Srf(self.level().srfs.len() - 1);
            return Ok(match set.columns.as_slice() {
                [(_, pg_type)] => Typed::new(expr, *pg_type),
                fields => Typed { expr, pg_type: ty::RECORD, typmod: -1, fields: fields.to_vec() },
            });
        }
        self.call(&name, bound)
    }

    fn order_by(&mut self, list: &[OrderByExpr]) -> Result<Vec<(Expr, bool, bool)>> {
        list.iter()
            .map(|key| {
                let descending = key.options.asc == Some(false);
                let typed = self.expr(&key.expr)?;
                Ok((typed.expr, descending, key.options.nulls_first.unwrap_or(descending)))
            })
            .collect()
    }

    fn window(&mut self, name: &str, star: bool, over: &WindowType) -> Result<Typed> {
        let kind = match (name, star) {
            ("row_number", false) => WindowKind::RowNumber,
            ("rank", false) => WindowKind::Rank,
            ("dense_rank", false) => WindowKind::DenseRank,
            ("count", true) => WindowKind::CountRows,
            _ => return Err(CatalogError::unsupported(format!("the window function {name}"))),
        };
        let WindowType::WindowSpec(spec) = over else {
            return Err(CatalogError::unsupported("a named window"));
        };
        if spec.window_frame.is_some() || (kind == WindowKind::CountRows && !spec.order_by.is_empty()) {
            return Err(CatalogError::unsupported("a window frame"));
        }
        let mut partition = Vec::new();
        for key in &spec.partition_by {
            partition.push(self.expr(key)?.expr);
        }
        let order = self.order_by(&spec.order_by)?;
        self.level_mut().windows.push(WindowCall { kind, partition, order });
        Ok(Typed::new(Expr::Window(self.level().windows.len() - 1), ty::INT8))
    }

    fn aggregate(
        &mut self,
        kind: AggregateKind,
        name: &str,
        args: &[&Ast],
        list: &ast::FunctionArgumentList,
        filter: Option<&Ast>,
    ) -> Result<Typed> {
        if !self.level().allows_aggregates {
            return Err(CatalogError::new("42803", "aggregate functions are not allowed here"));
        }
        self.level_mut().allows_aggregates = false;
        let args = args.iter().map(|arg| self.expr(arg)).collect::<Result<Vec<_>>>();
        let mut order = Vec::new();
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::OrderBy(keys) => order = self.order_by(keys)?,
                other => return Err(CatalogError::unsupported(format!("{other} in an aggregate"))),
            }
        }
        let filter =
            filter.map(|filter| self.expr(filter).and_then(|filter| self.coerce(filter, ty::BOOL))).transpose();
        self.level_mut().allows_aggregates = true;
        let (mut args, filter) = (args?, filter?);
        let wanted = match kind {
            AggregateKind::CountRows => 0,
            AggregateKind::StringAgg => 2,
            _ => 1,
        };
        if args.len() != wanted {
            return Err(self.no_function(name, &args));
        }
        let first = args.first().map_or(ty::UNKNOWN, |arg| arg.pg_type);
        let (pg_type, to) = match kind {
            AggregateKind::CountRows | AggregateKind::Count => (ty::INT8, None),
            AggregateKind::Sum => match first {
                ty::INT2 | ty::INT4 => (ty::INT8, None),
                ty::INT8 => (ty::NUMERIC, None),
                ty::FLOAT4 | ty::FLOAT8 => (first, None),
                _ => return Err(self.no_function(name, &args)),
            },
            AggregateKind::Min | AggregateKind::Max => {
                let pg_type = if ty::is_text(first) { ty::TEXT } else { first };
                (pg_type, Some(pg_type))
            }
            AggregateKind::BoolAnd | AggregateKind::BoolOr => (ty::BOOL, Some(ty::BOOL)),
            AggregateKind::StringAgg => {
                if args.iter().any(|arg| !ty::is_text(arg.pg_type)) {
                    return Err(self.no_function(name, &args));
                }
                (ty::TEXT, Some(ty::TEXT))
            }
            AggregateKind::ArrayAgg => {
                let element = if first == ty::UNKNOWN { ty::TEXT } else { first };
                (self.catalog.types.array_of(element), Some(element))
            }
        };
        let mut bound = Vec::new();
        for arg in args.drain(..) {
            bound.push(match to {
                Some(to) => self.coerce(arg, to)?,
                None => arg.expr,
            });
        }
        let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
        self.level_mut().aggregates.push(AggregateCall { kind, args: bound, distinct, filter, order });
        Ok(Typed::new(Expr::Aggregate(self.level().aggregates.len() - 1), pg_type))
    }

    /// Binds a call of a scalar function by name and argument types.
    pub fn call(&mut self, name: &str, args: Vec<Typed>) -> Result<Typed> {
        match (name, args.len()) {
            ("coalesce" | "greatest" | "least", 1..) => {
                let types: Vec<Oid> = args.iter().map(|arg| arg.pg_type).collect();
                let pg_type = self.common(&types, &name.to_uppercase())?;
                let args = args.into_iter().map(|arg| self.coerce(arg, pg_type)).collect::<Result<Vec<_>>>()?;
                let expr = match name {
                    "coalesce" => Expr::Coalesce(args),
                    _ => Expr::Extreme { args, greatest: name == "greatest" },
                };
                return Ok(Typed::new(expr, pg_type));
            }
            ("nullif", 2) => {
                let pg_type = match args[0].pg_type {
                    ty::UNKNOWN => ty::TEXT,
                    other => other,
                };
                let mut args = args.into_iter();
                let (left, right) = (args.next().expect("two"), args.next().expect("two"));
                let (left, right) = self.comparable(left, right, "=")?;
                return Ok(Typed::new(Expr::NullIf { left: Box::new(left), right: Box::new(right) }, pg_type));
            }
            ("pg_typeof", 1) => {
                return Ok(Typed::new(Expr::Const(Value::Int(i64::from(args[0].pg_type))), ty::REGTYPE));
            }
            ("row", _) => {
                let fields = (1..).zip(&args).map(|(at, arg)| (format!("f{at}"), arg.pg_type)).collect();
                let items = args.into_iter().map(|arg| arg.expr).collect();
                return Ok(Typed { expr: Expr::Row(items), pg_type: ty::RECORD, typmod: -1, fields });
            }
            _ => {}
        }
        let types: Vec<Oid> = args.iter().map(|arg| arg.pg_type).collect();
        let Some(function) = functions::find(&self.catalog.types, name, &types) else {
            return Err(self.no_function(name, &args));
        };
        let mut bound = Vec::new();
        let mut element = None;
        for (at, arg) in args.into_iter().enumerate() {
            let wanted = function.argument(at);
            match wanted {
                ty::ANYARRAY => element = element.or(self.catalog.types.element_of(arg.pg_type)),
                ty::ANYELEMENT if arg.pg_type != ty::UNKNOWN => element = element.or(Some(arg.pg_type)),
                _ => {}
            }
            bound.push(match wanted {
                ty::ANYARRAY if arg.pg_type == ty::UNKNOWN => self.coerce(arg, ty::TEXT_ARRAY)?,
                ty::ANYARRAY | ty::ANYELEMENT => arg.expr,
                ARRAY_AS_TEXT => self.coerce(arg, ty::TEXT_ARRAY)?,
                wanted => self.coerce(arg, wanted)?,
            });
        }
        let pg_type = match function.returns {
            ty::ANYELEMENT => element.unwrap_or(ty::TEXT),
            ty::ANYARRAY => self.catalog.types.array_of(element.unwrap_or(ty::TEXT)),
            other => other,
        };
        Ok(Typed::new(Expr::Call { function, args: bound }, pg_type))
    }

    fn no_function(&self, name: &str, args: &[Typed]) -> CatalogError {
        let types: Vec<String> = args
            .iter()
            .map(|arg| match arg.pg_type {
                ty::UNKNOWN => "unknown".to_owned(),
                other => self.catalog.types.format(other, None),
            })
            .collect();
        let mut error = CatalogError::new("42883", format!("function {name}({}) does not exist", types.join(", ")));
        let hint = "No function matches the given name and argument types. You might need to add explicit type casts.";
        error.hint = Some(hint.to_owned());
        error
    }

    /// Binds a call of a function that returns a set; `None` when the name is not one.
    pub fn set_function_named(&mut self, name: &str, args: Vec<Typed>) -> Result<Option<SetCall>> {
        let columns =
            |list: &[(&str, Oid)]| list.iter().map(|(name, oid)| ((*name).to_owned(), *oid)).collect::<Vec<_>>();
        let first = args.first().map_or(ty::UNKNOWN, |arg| arg.pg_type);
        let (function, columns, wanted) = match (name, args.len()) {
            ("generate_series", 2 | 3) => {
                let wide = args.iter().any(|arg| arg.pg_type == ty::INT8);
                if args.iter().any(|arg| !ty::is_integer(arg.pg_type) && arg.pg_type != ty::UNKNOWN) {
                    return Err(CatalogError::unsupported("generate_series over anything but integers"));
                }
                let pg_type = if wide { ty::INT8 } else { ty::INT4 };
                (SetFunction::GenerateSeries, columns(&[("", pg_type)]), vec![pg_type; args.len()])
            }
            ("generate_subscripts", 2 | 3) => {
                let wanted = [ty::ANYARRAY, ty::INT4, ty::BOOL][..args.len()].to_vec();
                (SetFunction::GenerateSubscripts, columns(&[("", ty::INT4)]), wanted)
            }
            ("unnest", 1) => {
                let element = match first {
                    ty::UNKNOWN => ty::TEXT,
                    first => self.catalog.types.element_of(first).ok_or_else(|| self.no_function(name, &args))?,
                };
                (SetFunction::Unnest, columns(&[("", element)]), vec![ty::ANYARRAY])
            }
            ("_pg_expandarray", 1) => {
                let element = self.catalog.types.element_of(first).ok_or_else(|| self.no_function(name, &args))?;
                (SetFunction::ExpandArray, columns(&[("x", element), ("n", ty::INT4)]), vec![ty::ANYARRAY])
            }
            ("pg_get_keywords", 0) => {
                let fields = [
                    ("word", ty::TEXT),
                    ("catcode", ty::CHAR),
                    ("barelabel", ty::BOOL),
                    ("catdesc", ty::TEXT),
                    ("baredesc", ty::TEXT),
                ];
                (SetFunction::Keywords, columns(&fields), vec![])
            }
            ("pg_timezone_names", 0) => {
                let fields =
                    [("name", ty::TEXT), ("abbrev", ty::TEXT), ("utc_offset", ty::INTERVAL), ("is_dst", ty::BOOL)];
                (SetFunction::TimezoneNames, columns(&fields), vec![])
            }
            ("pg_options_to_table", 1) => {
                let fields = [("option_name", ty::TEXT), ("option_value", ty::TEXT)];
                (SetFunction::OptionsToTable, columns(&fields), vec![ty::TEXT_ARRAY])
            }
            ("aclexplode", 1) => {
                let fields = [
                    ("grantor", ty::OID),
                    ("grantee", ty::OID),
                    ("privilege_type", ty::TEXT),
                    ("is_grantable", ty::BOOL),
                ];
                (SetFunction::AclExplode, columns(&fields), vec![ty::ACLITEM_ARRAY])
            }
            ("pg_partition_tree", 1) => {
                let fields =
                    [("relid", ty::REGCLASS), ("parentrelid", ty::REGCLASS), ("isleaf", ty::BOOL), ("level", ty::INT4)];
                (SetFunction::Nothing, columns(&fields), vec![ty::REGCLASS])
            }
            ("pg_partition_ancestors", 1) => {
                (SetFunction::Nothing, columns(&[("relid", ty::REGCLASS)]), vec![ty::REGCLASS])
            }
            ("pg_listening_channels", 0) => (SetFunction::Nothing, columns(&[("", ty::TEXT)]), vec![]),
            _ => return Ok(None),
        };
        let mut bound = Vec::new();
        for (arg, wanted) in args.into_iter().zip(wanted) {
            bound.push(match wanted {
                ty::ANYARRAY if arg.pg_type == ty::UNKNOWN => self.coerce(arg, ty::TEXT_ARRAY)?,
                ty::ANYARRAY => arg.expr,
                wanted => self.coerce(arg, wanted)?,
            });
        }
        Ok(Some(SetCall { function, args: bound, columns }))
    }
}

fn aggregate(name: &str, star: bool) -> Option<AggregateKind> {
    Some(match (name, star) {
        ("count", true) => AggregateKind::CountRows,
        ("count", false) => AggregateKind::Count,
        ("sum", false) => AggregateKind::Sum,
        ("min", false) => AggregateKind::Min,
        ("max", false) => AggregateKind::Max,
        ("bool_and" | "every", false) => AggregateKind::BoolAnd,
        ("bool_or", false) => AggregateKind::BoolOr,
        ("string_agg", false) => AggregateKind::StringAgg,
        ("array_agg", false) => AggregateKind::ArrayAgg,
        _ => return None,
    })
}
