//! A view: the members of one or more join paths, under the names that people query.

use indexmap::IndexMap;

use crate::{Dimension, Measure, Naming, Place};

#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub naming: Naming,
    /// In the order of SQL's `SELECT *`: dimensions, then measures, then segments, each as defined.
    pub members: IndexMap<String, ViewMember>,
    /// The join paths as written, in order; the first element of each is a root.
    pub join_paths: Vec<Vec<String>>,
    pub folders: Vec<Folder>,
    pub default_filters: Vec<crate::ModelFilter>,
    pub access_policies: Vec<crate::AccessPolicy>,
    pub hierarchies: Vec<ViewHierarchy>,
    /// The groups that it names itself a part of.
    pub groups: Vec<String>,
    /// Set where nothing of this view may be served.
    pub unsupported: Option<crate::Unsupported>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemberKind {
    Dimension,
    Measure,
    Segment,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ViewMember {
    pub naming: Naming,
    pub kind: MemberKind,
    pub value: ViewMemberValue,
    pub format: Option<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ViewMemberValue {
    /// A member of the last cube of `path`, reached through exactly these cubes.
    Included {
        path: Vec<String>,
        member: String,
    },
    /// Defined on the view itself; its references are resolved to cubes' members, with their paths.
    OwnDimension(Box<Dimension>),
    OwnMeasure(Box<Measure>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Folder {
    pub name: String,
    pub members: Vec<String>,
    pub folders: Vec<Folder>,
    pub place: Place,
}

/// A hierarchy of a cube under the names that this view gives its levels; levels that the view has not are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewHierarchy {
    pub naming: Naming,
    pub levels: Vec<String>,
}

/// A named group of views, for tools that show a tree.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewGroup {
    pub name: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub views: Vec<String>,
    pub groups: Vec<ViewGroup>,
    pub place: Place,
}
