//! Members, or the SQL of cubes, that refer to each other in a circle.

use std::collections::HashMap;

use crate::check::Checked;
use crate::problems::Problems;
use crate::walk::{dimension_templates, measure_templates, member_refs, segment_templates};
use crate::{Cube, Model, Place, Relation, SqlTemplate, TemplatePart};

pub(crate) fn check(model: &Model, checked: &Checked<'_>, problems: &mut Problems) {
    let graph = member_graph(model);
    for circle in graph.circles() {
        let names: Vec<String> = circle.iter().map(|(cube, member)| format!("{cube}.{member}")).collect();
        let Some(((cube, member), place)) = circle.first().zip(graph.edge_place(&circle)) else { continue };
        problems.inherited = checked.is_inherited(cube, member);
        let (message, help) = if let [own] = names.as_slice() {
            (format!("\"{own}\" refers to itself"), format!("for the column of the table write `{{CUBE}}.{member}`"))
        } else {
            (
                format!("members refer to each other in a circle: {} → {}", names.join(" → "), names[0]),
                "compute one of them from columns".to_owned(),
            )
        };
        problems.error(place, message, "", help);
        problems.inherited = false;
    }
    let graph = cube_graph(model);
    for circle in graph.circles() {
        let names: Vec<&str> = circle.iter().map(|(cube, _)| cube.as_str()).collect();
        let Some(place) = graph.edge_place(&circle) else { continue };
        problems.error(
            place,
            format!("the SQL of cubes contains itself: {} → {}", names.join(" → "), names[0]),
            "",
            "write one of the queries out",
        );
    }
}

/// Cube and member; for the graph of cubes the member is empty.
type Key = (String, String);

struct Graph {
    keys: Vec<Key>,
    edges: Vec<Vec<(usize, Place)>>,
}

impl Graph {
    fn new(nodes: Vec<(Key, Vec<(Key, Place)>)>) -> Self {
        let index: HashMap<Key, usize> =
            nodes.iter().enumerate().map(|(index, (key, _))| (key.clone(), index)).collect();
        let edges = nodes
            .iter()
            .map(|(_, edges)| edges.iter().filter_map(|(key, place)| Some((*index.get(key)?, place.clone()))).collect())
            .collect();
        Self { keys: nodes.into_iter().map(|(key, _)| key).collect(), edges }
    }

    /// One circle for each edge that closes one in a depth-first walk. The walk keeps its own stack: chains may be long.
    fn circles(&self) -> Vec<Vec<Key>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.keys.len()];
        let mut circles = Vec::new();
        for start in 0..self.keys.len() {
            if marks[start] != Mark::New {
                continue;
            }
            marks[start] = Mark::Open;
            let mut stack = vec![(start, 0_usize)];
            while let Some((node, next)) = stack.last_mut() {
                let Some((target, _)) = self.edges[*node].get(*next) else {
                    marks[*node] = Mark::Done;
                    stack.pop();
                    continue;
                };
                *next += 1;
                match marks[*target] {
                    Mark::New => {
                        marks[*target] = Mark::Open;
                        stack.push((*target, 0));
                    }
                    Mark::Open => {
                        let from = stack.iter().position(|(open, _)| open == target).unwrap_or(0);
                        circles.push(stack[from..].iter().map(|(open, _)| self.keys[*open].clone()).collect());
                    }
                    Mark::Done => {}
                }
            }
        }
        circles
    }

    /// Where the first of a circle refers to the next.
    fn edge_place(&self, circle: &[Key]) -> Option<&Place> {
        let first = self.keys.iter().position(|key| Some(key) == circle.first())?;
        let second = self.keys.iter().position(|key| Some(key) == circle.get(1).or(circle.first()))?;
        self.edges[first].iter().find(|(target, _)| *target == second).map(|(_, place)| place)
    }
}

fn member_graph(model: &Model) -> Graph {
    let mut nodes = Vec::new();
    for (cube_name, cube) in &model.cubes {
        for (name, templates) in templates_of(cube) {
            let refs = templates.into_iter().flat_map(member_refs);
            let edges = refs.map(|member| ((member.cube().to_owned(), member.member.clone()), member.place.clone()));
            nodes.push(((cube_name.clone(), name.to_owned()), edges.collect()));
        }
    }
    Graph::new(nodes)
}

/// Every member of a cube with all its SQL.
fn templates_of(cube: &Cube) -> Vec<(&str, Vec<&SqlTemplate>)> {
    let dimensions = cube.dimensions.iter().map(|(name, dimension)| (name.as_str(), dimension_templates(dimension)));
    let measures = cube.measures.iter().map(|(name, measure)| (name.as_str(), measure_templates(measure)));
    let segments = cube.segments.iter().map(|(name, segment)| (name.as_str(), segment_templates(segment)));
    dimensions.chain(measures).chain(segments).collect()
}

fn cube_graph(model: &Model) -> Graph {
    let nodes = model.cubes.iter().map(|(name, cube)| {
        let (Relation::Table(sql) | Relation::Query(sql)) = &cube.relation;
        let embedded = sql.parts.iter().filter_map(|part| match part {
            TemplatePart::CubeSql(other) => Some(((other.clone(), String::new()), sql.place.clone())),
            _ => None,
        });
        ((name.clone(), String::new()), embedded.collect())
    });
    Graph::new(nodes.collect())
}
