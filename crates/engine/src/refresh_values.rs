//! What the SQL of refresh keys and build ranges gives at the sources.

use std::sync::Arc;

use belvedere_functions::Zone;
use belvedere_functions::datetime::{from_local, to_local};
use belvedere_model::SqlTemplate;
use belvedere_planner::files;
use belvedere_planner::refresh_sql::refresh_sql;
use belvedere_planner::session::RollupUsage;
use belvedere_sources::{Dialect, RemoteSource, Statement};
use chrono::NaiveDateTime;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;

use crate::SqlError;
use crate::engine::Engine;
use crate::errors::{from_datafusion, from_plan};
use crate::sources::DataSourceKind;

const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// Where such SQL is asked.
enum Asked {
    Remote { source: Arc<dyn RemoteSource>, sql: String },
    Files(LogicalPlan),
}

impl Engine {
    /// What the SQL of a refresh key gives now, as text: its first row, whatever columns that has. `None` for no row, and for NULL alone.
    ///
    /// # Errors
    /// What the source says.
    pub async fn refresh_key_value(&self, cube: &str, sql: &SqlTemplate) -> Result<Option<String>, SqlError> {
        let (source, sql) = match self.asked(cube, sql)? {
            (Asked::Remote { source, sql }, _) => (source, sql),
            (Asked::Files(plan), zone) => {
                let values = self.first_row(plan, zone).await?;
                let is_null = values.iter().all(ScalarValue::is_null);
                return Ok((!is_null).then(|| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")));
            }
        };
        let text = match source.dialect() {
            Dialect::Postgres => format!("SELECT CAST(k AS text) FROM ({sql}) AS k"),
            Dialect::MySql => {
                let columns = source.describe(&sql).await.map_err(|error| from_datafusion(&error.into()))?;
                let parts: Vec<String> = columns
                    .iter()
                    .map(|column| {
                        let name = column.field.name().replace('`', "``");
                        format!("COALESCE(CAST(`{name}` AS CHAR), 'NULL')")
                    })
                    .collect();
                format!("SELECT CONCAT_WS(',', {}) FROM ({sql}) AS k", parts.join(", "))
            }
        };
        let value = first_value(source, text, Field::new("k", DataType::Utf8, true)).await?;
        Ok(match value {
            ScalarValue::Utf8(text) => text,
            ScalarValue::Null => None,
            other => Some(other.to_string()),
        })
    }

    /// The moment that the SQL of a build range gives, in microseconds on the wall clock of `zone`; `None` for NULL and for no row.
    ///
    /// # Errors
    /// What the source says; 42804 for anything but one time.
    pub async fn build_range_value(&self, cube: &str, sql: &SqlTemplate, zone: Zone) -> Result<Option<i64>, SqlError> {
        let one_column =
            |columns: usize| if columns == 1 { Ok(()) } else { Err(not_a_time(&format!("{columns} columns"))) };
        let (value, native_type, source_zone) = match self.asked(cube, sql)? {
            (Asked::Remote { source, sql }, source_zone) => {
                let columns = source.describe(&sql).await.map_err(|error| from_datafusion(&error.into()))?;
                one_column(columns.len())?;
                let value = first_value(source, sql, columns[0].field.clone()).await?;
                (value, columns[0].native_type.clone(), source_zone)
            }
            (Asked::Files(plan), source_zone) => {
                one_column(plan.schema().fields().len())?;
                let native_type = plan.schema().field(0).data_type().to_string();
                let value = self.first_row(plan, source_zone).await?.pop().unwrap_or(ScalarValue::Null);
                (value, native_type, source_zone)
            }
        };
        let local = |at: i64| {
            from_local(at, &source_zone)
                .and_then(|utc| to_local(utc, &zone))
                .map_err(|error| from_datafusion(&DataFusionError::from(error)))
        };
        match value {
            value if value.is_null() => Ok(None),
            // Days have no zone.
            ScalarValue::Date32(Some(day)) => Ok(Some(i64::from(day) * DAY_MICROSECONDS)),
            ScalarValue::TimestampMicrosecond(Some(at), None) => local(at).map(Some),
            ScalarValue::TimestampMicrosecond(Some(at), Some(_)) => {
                to_local(at, &zone).map(Some).map_err(|error| from_datafusion(&DataFusionError::from(error)))
            }
            ScalarValue::Utf8(Some(text)) => match text_time(&text) {
                Some(TextTime::Day(at)) => Ok(Some(at)),
                Some(TextTime::Moment(at)) => local(at).map(Some),
                None => Err(not_a_time(&format!("the text '{text}'"))),
            },
            _ => Err(not_a_time(&format!("a {native_type}"))),
        }
    }

    /// The SQL of a cube at its data source, and that source's zone.
    fn asked(&self, cube: &str, sql: &SqlTemplate) -> Result<(Asked, Zone), SqlError> {
        let snapshot = self.snapshot();
        let catalog = snapshot.catalog();
        let cube = catalog
            .model
            .cubes
            .get(cube)
            .ok_or_else(|| SqlError::new("XX000", format!("the model has no cube \"{cube}\" any more")))?;
        let text = refresh_sql(&catalog.model, cube, sql).map_err(|error| from_plan(&error, ""))?;
        let source = self.sources().get(&cube.data_source);
        match source.map(|source| (&source.kind, source.zone)) {
            Some((DataSourceKind::Remote(source), zone)) => {
                Ok((Asked::Remote { source: Arc::clone(source), sql: text }, zone))
            }
            Some((DataSourceKind::Files(_), zone)) => {
                let plan = self.with_planning(catalog, zone, RollupUsage::Off, |planning| {
                    files::bind_text(planning, cube, &text)
                })?;
                Ok((Asked::Files(plan), zone))
            }
            None => Err(SqlError::new("58000", format!("data source \"{}\" is not configured", cube.data_source))),
        }
    }
}

fn not_a_time(what: &str) -> SqlError {
    SqlError::new("42804", format!("the SQL of a build range gives {what}, and must give one date or timestamp"))
}

enum TextTime {
    Day(i64),
    Moment(i64),
}

fn text_time(text: &str) -> Option<TextTime> {
    let text = text.trim();
    if let Ok(day) = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(TextTime::Day(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros()));
    }
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|at| TextTime::Moment(at.and_utc().timestamp_micros()))
}

async fn first_value(source: Arc<dyn RemoteSource>, sql: String, field: Field) -> Result<ScalarValue, SqlError> {
    let field = match field.data_type() {
        DataType::Timestamp(_, zone) => {
            let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            field.with_data_type(data_type)
        }
        _ => field,
    };
    let schema = Arc::new(Schema::new(vec![field.with_nullable(true)]));
    let mut rows = source.read(Statement { sql, parameters: Vec::new() }, schema);
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| from_datafusion(&error))?;
        if batch.num_rows() > 0 {
            return ScalarValue::try_from_array(batch.column(0), 0).map_err(|error| from_datafusion(&error));
        }
    }
    Ok(ScalarValue::Null)
}
