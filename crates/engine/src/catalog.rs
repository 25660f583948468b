//! What the system catalog shows of a snapshot: its views and cubes, with comments and types.

use std::sync::Arc;

use belvedere_model::Model;
use belvedere_pgcatalog::{
    CatalogColumn, CatalogRelation, CatalogSetting, CatalogSnapshot, RelationKind, SessionFacts,
};
use belvedere_planner::catalog::{Catalog, MemberColumn, ViewTable};

use crate::settings::{SERVER_VERSION, Settings};
use crate::{Login, columns};

/// What `version()` answers; clients read the number after the name.
#[must_use]
pub fn version_text() -> String {
    format!("PostgreSQL {SERVER_VERSION} (Belvedere {})", env!("CARGO_PKG_VERSION"))
}

/// Describes a catalog for clients that look around.
#[must_use]
pub fn describe(catalog: &Catalog, users: Vec<String>, defaults: &Settings) -> belvedere_pgcatalog::Catalog {
    let relations = catalog.tables.values().map(|table| relation(&catalog.model, table)).collect();
    let settings = defaults
        .all()
        .map(|(name, value)| CatalogSetting {
            name: name.to_owned(),
            value: value.to_owned(),
            description: String::new(),
        })
        .collect();
    belvedere_pgcatalog::Catalog::new(CatalogSnapshot {
        relations,
        databases: Vec::new(),
        users,
        settings,
        version: version_text(),
    })
}

fn relation(model: &Model, table: &Arc<ViewTable>) -> CatalogRelation {
    let view = model.views.get(&table.name);
    let (kind, comment) = match (view, model.cubes.get(&table.name)) {
        (Some(view), _) => (RelationKind::View, view.naming.description.clone().or_else(|| view.naming.title.clone())),
        (None, Some(cube)) => {
            (RelationKind::Table, cube.naming.description.clone().or_else(|| cube.naming.title.clone()))
        }
        (None, None) => (RelationKind::View, None),
    };
    let columns = table
        .columns
        .iter()
        .map(|(name, member)| {
            let (pg_type, typmod) = columns::pg_type_of(&member.field);
            CatalogColumn {
                name: name.clone(),
                pg_type: pg_type.name().to_owned(),
                typmod,
                nullable: true,
                comment: view
                    .and_then(|view| view.members.get(name))
                    .and_then(|member| member.naming.description.clone())
                    .or_else(|| member_description(model, member)),
            }
        })
        .collect();
    CatalogRelation { name: table.name.clone(), kind, comment, columns }
}

fn member_description(model: &Model, member: &MemberColumn) -> Option<String> {
    let cube = model.cubes.get(member.path.last()?)?;
    let naming = match member.kind {
        belvedere_model::MemberKind::Dimension => &cube.dimensions.get(&member.member)?.naming,
        belvedere_model::MemberKind::Measure => &cube.measures.get(&member.member)?.naming,
        belvedere_model::MemberKind::Segment => &cube.segments.get(&member.member)?.naming,
    };
    naming.description.clone()
}

/// The session as catalog functions see it.
#[must_use]
pub fn session_facts(login: &Login, settings: &Settings, now_us: i64, started_us: i64) -> SessionFacts {
    let mut facts = SessionFacts::new(&login.user, &login.database);
    facts.backend_pid = login.process_id;
    facts.settings = settings.all().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Ok((_, name)) = settings.show("application_name") {
        facts.application_name = name;
    }
    facts.now_us = now_us;
    facts.server_started_us = started_us;
    facts
}
