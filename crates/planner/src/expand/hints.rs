//! The cubes that members need, in order: what a join tree is chosen for (reference J10 to J12).

use belvedere_model::{
    DimensionKind, GranularityValue, Mask, MemberKind, Model, SqlTemplate, TemplatePart, ViewMemberValue,
    dimension_templates, measure_templates,
};
use datafusion_common::Column;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::Expr;

use crate::catalog::MemberColumn;
use crate::error::{PlanError, Result};
use crate::granularity::granularity_of;
use crate::lower::calculated::composed_path;
use crate::lower::joined_rows::{internal, missing, view_named};
use crate::lower::lower_leg::granularity_call;
use crate::members::{self, REFERENCE_DEPTH_MAX};
use crate::nodes::fact_leg::{LeafOrigin, LegLeaf, LegScan};
use crate::policy::condition::Condition;
use crate::rewrite::CUSTOM_GRANULARITY;

use super::choose_join_tree::choose_join_tree;
use super::pin_switches::as_switch;

/// Paths of cubes, each once, in order of appearance.
#[derive(Clone)]
pub(crate) struct Hints<'a> {
    pub model: &'a Model,
    pub paths: Vec<Vec<String>>,
}

impl<'a> Hints<'a> {
    pub(crate) fn new(model: &'a Model) -> Self {
        Self { model, paths: Vec::new() }
    }

    pub(crate) fn add(&mut self, path: Vec<String>) {
        if !path.is_empty() && !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }

    /// These, then the other's.
    pub(crate) fn and(&self, others: &Self) -> Self {
        let mut both = self.clone();
        for path in &others.paths {
            both.add(path.clone());
        }
        both
    }

    /// The last cube of each path.
    pub(crate) fn cubes(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().filter_map(|path| path.last()).map(String::as_str)
    }

    /// The members that a row filter tests.
    pub(crate) fn condition(&mut self, condition: &Condition) -> Result<()> {
        condition.members().into_iter().try_for_each(|member| self.member(member))
    }

    /// What a column of a view needs, and its mask.
    pub(crate) fn member(&mut self, column: &MemberColumn) -> Result<()> {
        self.shown_member(column)?;
        let Some(mask) = &column.mask else { return Ok(()) };
        if let Some(condition) = &mask.shown_where {
            self.refuse_repetition(column, condition)?;
            self.condition(condition)?;
        }
        match (column.mask_of(self.model), &column.view) {
            (Some(Mask::Sql(template)), None) => self.templates(&column.path, &[template], 0, Measures::Followed),
            (Some(Mask::Sql(template)), Some(_)) => self.named_by_view(&[template]),
            (Some(Mask::Literal(_)) | None, _) => Ok(()),
        }
    }

    /// The members that SQL of a view refers to.
    fn named_by_view(&mut self, templates: &[&SqlTemplate]) -> Result<()> {
        for part in templates.iter().flat_map(|template| &template.parts) {
            let TemplatePart::Member(reference) = part else { continue };
            self.add(reference.path.clone());
            self.references(&reference.path, &reference.member, 1, Measures::Followed)?;
        }
        Ok(())
    }

    /// What decides of a mask must have one value on each row: a cube of which a row has several would repeat the row.
    fn refuse_repetition(&self, column: &MemberColumn, condition: &Condition) -> Result<()> {
        let mut own = Self::new(self.model);
        own.shown_member(column)?;
        // A measure of several facts has a tree for each, where the condition is one of each row.
        let Ok(tree) = choose_join_tree(self.model, &own.paths) else { return Ok(()) };
        own.condition(condition)?;
        let larger = choose_join_tree(self.model, &own.paths)?;
        let determined = larger.determined_by(self.model, &tree.root);
        if larger.root == tree.root && larger.nodes().all(|node| tree.contains(node) || determined.contains(node)) {
            return Ok(());
        }
        Err(PlanError::unsupported(format!(
            "\"{}\" is masked but for some rows, and which they are depends on cubes of which a row may have several",
            column.member
        ))
        .detail("One access policy shows it under a row filter, another one masks it."))
    }

    /// A cube's member, or what the view's own member refers to.
    fn shown_member(&mut self, column: &MemberColumn) -> Result<()> {
        if let Some(view) = &column.view {
            let view = view_named(self.model, view)?;
            let templates = match view.members.get(&column.member).map(|member| &member.value) {
                Some(ViewMemberValue::OwnDimension(dimension)) => dimension_templates(dimension),
                Some(ViewMemberValue::OwnMeasure(measure)) => measure_templates(measure),
                Some(ViewMemberValue::Included { .. }) | None => {
                    return Err(missing(&view.naming.name, &column.member));
                }
            };
            return self.named_by_view(&templates);
        }
        // A switch is no column of its cube.
        if as_switch(column, self.model).is_some() {
            return Ok(());
        }
        self.add(column.path.clone());
        self.references(&column.path, &column.member, 0, Measures::Followed)
    }

    /// What one leaf needs: its cube, and the dimensions and segments that its SQL and filters name.
    pub(crate) fn leaf(&mut self, scans: &[LegScan], leaf: &LegLeaf) -> Result<()> {
        self.add(leaf.path.clone());
        match leaf.origin {
            LeafOrigin::Value | LeafOrigin::Raw(_) => {
                self.references(&leaf.path, &leaf.measure, 0, Measures::Skipped)?;
            }
            LeafOrigin::Mask(_) => {
                let owner = members::cube_named(self.model, leaf.cube())?;
                let mask = owner.measures.get(&leaf.measure).and_then(|measure| measure.details.mask.as_ref());
                if let Some(Mask::Sql(template)) = mask {
                    self.templates(&leaf.path, &[template], 0, Measures::Skipped)?;
                }
            }
        }
        for (path, measure) in &leaf.within {
            let owner = members::cube_named(self.model, path.last().map_or("", String::as_str))?;
            let filters: Vec<&SqlTemplate> = owner.measures.get(measure).iter().flat_map(|m| &m.filters).collect();
            self.add(path.clone());
            self.templates(path, &filters, 0, Measures::Skipped)?;
        }
        leaf.filter.as_ref().map_or(Ok(()), |filter| self.expr(scans, filter))
    }

    /// The view's first root, or the cube itself.
    pub(crate) fn default_of(&mut self, scan: &LegScan) {
        let root = scan.table.root.clone();
        if let Some(root) = root
            && !self.paths.iter().any(|path| path.first() == Some(&root))
        {
            self.add(vec![root]);
        }
    }

    pub(crate) fn expr(&mut self, scans: &[LegScan], expr: &Expr) -> Result<()> {
        expr.apply(|node| {
            match node {
                Expr::Column(column) => self.member(member(scans, column)?)?,
                Expr::ScalarFunction(call) if call.func.name() == CUSTOM_GRANULARITY => {
                    let (granularity, column) = granularity_call(call)?;
                    self.granularity(member(scans, column)?, granularity)?;
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(internal)?;
        Ok(())
    }

    /// What the SQL of a calendar's granularity names.
    fn granularity(&mut self, column: &MemberColumn, granularity: &str) -> Result<()> {
        let Some(dimension) = column.dimension(self.model) else { return Ok(()) };
        let Some((path, GranularityValue::Sql(template))) =
            granularity_of(self.model, &column.path, dimension, granularity)
        else {
            return Ok(());
        };
        self.add(path.clone());
        self.templates(&path, &[template], 0, Measures::Followed)
    }

    /// The cubes that a member's SQL reaches, through the members that it names.
    fn references(&mut self, path: &[String], name: &str, depth: usize, measures: Measures) -> Result<()> {
        if depth > REFERENCE_DEPTH_MAX {
            return Err(PlanError::new("54001", "members refer to members too deeply"));
        }
        let cube = path.last().map_or("", String::as_str);
        let owner = members::cube_named(self.model, cube)?;
        let mut templates: Vec<&SqlTemplate> = Vec::new();
        let mut measures = measures;
        if let Some(dimension) = owner.dimensions.get(name) {
            templates.extend(dimension_templates(dimension));
            if let Some(case) = &dimension.details.case_switch {
                let full = composed_path(self.model, path, &case.switch.path);
                let owner = members::cube_named(self.model, full.last().map_or("", String::as_str))?;
                let switch = owner.dimensions.get(&case.switch.member);
                // A switch is no column of its cube; any other dimension is.
                if switch.is_some_and(|switch| switch.kind != DimensionKind::Switch) {
                    self.add(full.clone());
                    self.references(&full, &case.switch.member, depth + 1, measures)?;
                }
            }
            // Its measures are a question of their own, joined to the cube's rows.
            if dimension.details.sub_query {
                measures = Measures::Skipped;
            }
        } else if let Some(measure) = owner.measures.get(name) {
            templates.extend(measure_templates(measure));
        } else if let Some(segment) = owner.segments.get(name) {
            templates.push(&segment.sql);
        } else {
            return Err(missing(cube, name));
        }
        self.templates(path, &templates, depth, measures)
    }

    /// The cubes that SQL of the last cube of `path` reaches.
    fn templates(
        &mut self,
        path: &[String],
        templates: &[&SqlTemplate],
        depth: usize,
        measures: Measures,
    ) -> Result<()> {
        let cube = path.last().map_or("", String::as_str);
        for part in templates.iter().flat_map(|template| &template.parts) {
            let TemplatePart::Member(reference) = part else { continue };
            let full = composed_path(self.model, path, &reference.path);
            let target = full.last().map_or("", String::as_str);
            let is_measure =
                self.model.cubes.get(target).is_some_and(|cube| cube.measures.contains_key(&reference.member));
            match measures {
                Measures::Skipped if is_measure => continue,
                Measures::Skipped | Measures::Followed => {}
            }
            if target != cube {
                self.add(full.clone());
            }
            self.references(&full, &reference.member, depth + 1, measures)?;
        }
        Ok(())
    }
}

/// What to do with measures that a measure's SQL names: leaves of their own where leaves are looked at one by one.
#[derive(Clone, Copy)]
enum Measures {
    Followed,
    Skipped,
}

/// Members in the order in which they choose a join tree (reference J10).
pub(crate) fn in_hint_order<'s>(members: impl Iterator<Item = &'s MemberColumn>) -> Vec<&'s MemberColumn> {
    let mut ordered: Vec<&MemberColumn> = members.collect();
    ordered.sort_by_key(|member| match member.kind {
        MemberKind::Measure => 0,
        MemberKind::Dimension => 1,
        MemberKind::Segment => 2,
    });
    ordered
}

/// The member that a column of a question's expressions means.
pub(crate) fn member<'s>(scans: &'s [LegScan], column: &Column) -> Result<&'s MemberColumn> {
    scans
        .iter()
        .find(|scan| column.relation.as_ref().is_none_or(|relation| *relation == scan.reference))
        .and_then(|scan| scan.table.columns.get(&column.name))
        .ok_or_else(|| PlanError::internal(format!("{column} is not a column of the views below")))
}
