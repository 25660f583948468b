//! Filters of the model as expressions over joined rows, by the operators of the reference (1.22).
//!
//! `notEquals` keeps the rows without a value, as there (O2); SQL's own `<>` is another thing. Texts are compared by code point, except
//! in `contains` and its kin, which ignore case.

use std::cell::Cell;

use arrow::datatypes::DataType;
use belvedere_functions::Zone;
use belvedere_model::{FilterOperator, MemberKind};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Like, Operator, lit};

use crate::bind::operators;
use crate::catalog::MemberColumn;
use crate::error::{PlanError, Result};
use crate::policy::condition::{Condition, Test};
use crate::session::SessionFacts;

use super::joined_rows::{JoinedRows, Scope, dimension_named, missing, view_named};
use super::relative_dates;

const DAY_US: i64 = 86_400_000_000;

impl JoinedRows<'_> {
    /// A filter of the model; dates in it are days of `zone`.
    ///
    /// # Errors
    /// 0A000 for what the model says and cannot be done, 22P02 for a value that is not of its member's type.
    pub(crate) fn condition(&mut self, condition: &Condition, zone: Zone) -> Result<Expr> {
        let mut several = |inner: &[Condition], of_none: bool, join: fn(Expr, Expr) -> Expr| {
            let mut all: Option<Expr> = None;
            for condition in inner {
                let holds = self.condition(condition, zone)?;
                all = Some(match all {
                    None => holds,
                    Some(before) => join(before, holds),
                });
            }
            Ok(all.unwrap_or_else(|| lit(of_none)))
        };
        match condition {
            Condition::Never => Ok(lit(false)),
            Condition::Broken(reason) => {
                Err(PlanError::unsupported("a filter of the model cannot be applied").detail(format!("{reason}.")))
            }
            Condition::And(inner) => several(inner, true, Expr::and),
            Condition::Or(inner) => several(inner, false, Expr::or),
            Condition::Test(test) => self.test(test, zone),
        }
    }

    fn test(&mut self, test: &Test, zone: Zone) -> Result<Expr> {
        let value = self.tested_value(&test.member, zone)?;
        let data_type = self.type_of(&value)?;
        let tester = Tester {
            schema: self.schema()?,
            session: SessionFacts { zone, ..self.planning.session.clone() },
            value,
            data_type,
            test,
            of_moment: self.planning.of_moment,
        };
        tester.condition()
    }

    /// The value of a member as it is, never its mask.
    fn tested_value(&mut self, column: &MemberColumn, zone: Zone) -> Result<Expr> {
        let model = self.model();
        match (column.kind, &column.view) {
            (MemberKind::Dimension, None) => {
                let role = self.role(&column.path)?;
                let dimension = dimension_named(role.cube, &column.member)?;
                let stored = self.stored_dimension(&role, dimension, 0)?;
                self.shown_in(dimension, stored, zone)
            }
            (MemberKind::Dimension, Some(view)) => {
                let view = view_named(model, view)?;
                let dimension = column.dimension(model).ok_or_else(|| missing(&view.naming.name, &column.member))?;
                let stored = self.dimension_value(&Scope::View(view), dimension, 0)?;
                self.shown_in(dimension, stored, zone)
            }
            (MemberKind::Segment, _) => self.segment(&column.path, &column.member),
            (MemberKind::Measure, _) => {
                Err(PlanError::unsupported(format!("a filter of rows by the measure \"{}\"", column.member)))
            }
        }
    }
}

struct Tester<'t> {
    schema: datafusion_common::DFSchema,
    session: SessionFacts,
    value: Expr,
    data_type: DataType,
    test: &'t Test,
    of_moment: &'t Cell<bool>,
}

/// A time that a filter names, in microseconds of wall clock: from `start`, up to but not including `end`.
struct Moment {
    start: i64,
    end: i64,
}

impl Tester<'_> {
    fn condition(&self) -> Result<Expr> {
        use FilterOperator as F;
        let given: Vec<&str> = self.test.values.iter().flatten().map(String::as_str).collect();
        let has_null = self.test.values.iter().any(Option::is_none);
        let is_null = || Expr::IsNull(Box::new(self.value.clone()));
        let is_not_null = || Expr::IsNotNull(Box::new(self.value.clone()));
        let or_null = |condition: Option<Expr>| match (condition, has_null) {
            (Some(condition), true) => condition.or(is_null()),
            (Some(condition), false) => condition,
            // Nothing at all to compare with is true of nothing.
            (None, true) => is_null(),
            (None, false) => lit(false),
        };
        let unless_null = |condition: Option<Expr>| match (condition, has_null) {
            // What SQL's own `<>` does to NULL is what is asked here.
            (Some(condition), true) => condition,
            (Some(condition), false) => condition.or(is_null()),
            (None, true) => is_not_null(),
            (None, false) => lit(false),
        };
        Ok(match self.test.operator {
            F::Equals => or_null(self.each(&given, Expr::or, |text| self.compare(Operator::Eq, text))?),
            F::NotEquals => unless_null(self.each(&given, Expr::and, |text| self.compare(Operator::NotEq, text))?),
            F::Contains => or_null(self.each(&given, Expr::or, |text| self.like("%", text, "%", false))?),
            F::StartsWith => or_null(self.each(&given, Expr::or, |text| self.like("", text, "%", false))?),
            F::EndsWith => or_null(self.each(&given, Expr::or, |text| self.like("%", text, "", false))?),
            F::NotContains => unless_null(self.each(&given, Expr::and, |text| self.like("%", text, "%", true))?),
            F::NotStartsWith => unless_null(self.each(&given, Expr::and, |text| self.like("", text, "%", true))?),
            F::NotEndsWith => unless_null(self.each(&given, Expr::and, |text| self.like("%", text, "", true))?),
            F::Gt => self.compare(Operator::Gt, self.first(&given)?)?,
            F::Gte => self.compare(Operator::GtEq, self.first(&given)?)?,
            F::Lt => self.compare(Operator::Lt, self.first(&given)?)?,
            F::Lte => self.compare(Operator::LtEq, self.first(&given)?)?,
            F::Set => is_not_null(),
            F::NotSet => is_null(),
            F::InDateRange => {
                let range = self.range(&given)?;
                self.at(Operator::GtEq, range.start)?.and(self.at(Operator::Lt, range.end)?)
            }
            F::NotInDateRange => {
                let range = self.range(&given)?;
                self.at(Operator::Lt, range.start)?.or(self.at(Operator::GtEq, range.end)?)
            }
            F::OnTheDate => {
                let day = self.named(self.first(&given)?)?;
                let start = day.start.div_euclid(DAY_US) * DAY_US;
                if day.end > start + DAY_US {
                    return Err(PlanError::unsupported(format!(
                        "a filter on \"{}\" by one date has a range of several days",
                        self.test.member.member
                    )));
                }
                self.at(Operator::GtEq, start)?.and(self.at(Operator::Lt, start + DAY_US)?)
            }
            F::BeforeDate => self.at(Operator::Lt, self.named(self.first(&given)?)?.start)?,
            F::AfterOrOnDate => self.at(Operator::GtEq, self.named(self.first(&given)?)?.start)?,
            F::BeforeOrOnDate => self.at(Operator::Lt, self.named(self.first(&given)?)?.end)?,
            F::AfterDate => self.at(Operator::GtEq, self.named(self.first(&given)?)?.end)?,
            F::MeasureFilter => return Err(PlanError::unsupported("the filter operator measureFilter")),
        })
    }

    fn each(
        &self,
        given: &[&str],
        join: fn(Expr, Expr) -> Expr,
        one: impl Fn(&str) -> Result<Expr>,
    ) -> Result<Option<Expr>> {
        let mut all: Option<Expr> = None;
        for text in given {
            let holds = one(text)?;
            all = Some(match all {
                None => holds,
                Some(before) => join(before, holds),
            });
        }
        Ok(all)
    }

    fn first<'v>(&self, given: &[&'v str]) -> Result<&'v str> {
        given.first().copied().ok_or_else(|| {
            PlanError::unsupported(format!("a filter on \"{}\" compares with nothing", self.test.member.member))
        })
    }

    fn is_time(&self) -> bool {
        matches!(self.data_type, DataType::Timestamp(..) | DataType::Date32)
    }

    fn compare(&self, operator: Operator, text: &str) -> Result<Expr> {
        if self.is_time() {
            return self.at(operator, self.moment(text)?.start);
        }
        self.compared(operator, lit(text))
    }

    fn at(&self, operator: Operator, time_us: i64) -> Result<Expr> {
        if !self.is_time() {
            return Err(PlanError::unsupported(format!(
                "a filter compares \"{}\" with dates, and it is no time",
                self.test.member.member
            )));
        }
        let literal = match (&self.data_type, i32::try_from(time_us.div_euclid(DAY_US))) {
            (DataType::Date32, Ok(days)) if time_us.rem_euclid(DAY_US) == 0 => ScalarValue::Date32(Some(days)),
            _ => ScalarValue::TimestampMicrosecond(Some(time_us), None),
        };
        self.compared(operator, Expr::Literal(literal, None))
    }

    fn compared(&self, operator: Operator, literal: Expr) -> Result<Expr> {
        operators::compare(operator, self.value.clone(), literal, &self.schema, &self.session).map_err(|_| {
            PlanError::new(
                "22P02",
                format!("a filter on \"{}\" compares it with a value that is not of its type", self.test.member.member),
            )
        })
    }

    /// `LIKE` that ignores case; what is special in a pattern stands for itself.
    fn like(&self, before: &str, text: &str, behind: &str, negated: bool) -> Result<Expr> {
        if self.data_type != DataType::Utf8 {
            return Err(PlanError::unsupported(format!(
                "a filter looks for text in \"{}\", which is no text",
                self.test.member.member
            )));
        }
        let mut pattern = before.to_owned();
        for character in text.chars() {
            if matches!(character, '\\' | '%' | '_') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push_str(behind);
        Ok(Expr::Like(Like::new(negated, Box::new(self.value.clone()), Box::new(lit(pattern)), None, true)))
    }

    /// From the first of two dates to the end of the second, or what one names alone.
    fn range(&self, given: &[&str]) -> Result<Moment> {
        match given {
            [one] => self.named(one),
            [from, to] => Ok(Moment { start: self.named(from)?.start, end: self.named(to)?.end }),
            _ => Err(PlanError::unsupported(format!(
                "a filter on \"{}\" by a range of dates needs two of them, or one relative to today",
                self.test.member.member
            ))),
        }
    }

    /// A date or time, or one relative to now on the wall clock of the filter's zone.
    fn named(&self, text: &str) -> Result<Moment> {
        match relative_dates::range(text, self.session.local_now()) {
            Some((start, end)) => {
                self.of_moment.set(true);
                Ok(Moment { start: start.and_utc().timestamp_micros(), end: end.and_utc().timestamp_micros() })
            }
            None => self.moment(text).map_err(|error| error.detail(relative_dates::PHRASES)),
        }
    }

    fn moment(&self, text: &str) -> Result<Moment> {
        let text = text.trim();
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        if let Some(day) = day {
            let start = day.and_time(NaiveTime::MIN).and_utc().timestamp_micros();
            return Ok(Moment { start, end: start + DAY_US });
        }
        let spaced = text.replacen('T', " ", 1);
        let time = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(&spaced, format).ok());
        let start = time.map(|time| time.and_utc().timestamp_micros()).ok_or_else(|| {
            PlanError::unsupported(format!(
                "a filter on \"{}\" has a date that cannot be read",
                self.test.member.member
            ))
            .hint("Dates are written as 2024-01-31 or 2024-01-31T12:30:00, without a zone.")
        })?;
        Ok(Moment { start, end: start + 1 })
    }
}
