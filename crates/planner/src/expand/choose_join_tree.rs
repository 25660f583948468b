//! Chooses one tree of joins that connects the cubes a query names.
//!
//! The rules are Cube's (reference J9 to J12): edges are directed, from the cube that declares the join; each hint's first cube
//! is tried as the root, every other hint is reached by the shortest path (ties: definition order), the tree with the fewest
//! edges wins (ties: the earliest hint). It would be wrong to prefer any other root: the root decides which rows exist.
//!
//! Where a path names a join and its cube is there already by another one, Cube joins it once and takes either. Here it is joined
//! once for each (reference J15): the city of a client is not the city of a store. A second role is named by where it hangs,
//! `stores.cities`; a bare name that several could mean is the first.

use std::collections::{HashMap, HashSet, VecDeque};

use belvedere_model::{Join, Model, Relationship};

use crate::error::{PlanError, Result};

/// One LEFT JOIN of the tree, between two nodes: see [`cube_of`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JoinEdge {
    pub from: String,
    pub to: String,
}

/// A root and the joins from it, each one's `from` already joined before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JoinTree {
    pub root: String,
    pub edges: Vec<JoinEdge>,
}

impl std::fmt::Display for JoinTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.root)?;
        for edge in &self.edges {
            write!(f, ", {} → {}", edge.from, edge.to)?;
        }
        Ok(())
    }
}

/// The cube of a node of a tree. A node is named like its cube, or, where the cube is joined several times, `from.cube`.
#[must_use]
pub fn cube_of(node: &str) -> &str {
    node.rsplit('.').next().unwrap_or(node)
}

impl JoinTree {
    /// One cube alone.
    #[must_use]
    pub fn of(cube: &str) -> Self {
        Self { root: cube.to_owned(), edges: Vec::new() }
    }

    /// Whether every join of this tree is in `larger`, from the same root: rows are then only added to, never lost.
    #[must_use]
    pub fn is_part_of(&self, larger: &Self) -> bool {
        self.root == larger.root && self.edges.iter().all(|edge| larger.edges.contains(edge))
    }

    /// The nodes, the root first.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.root.as_str()).chain(self.edges.iter().map(|edge| edge.to.as_str()))
    }

    /// Where a path leads to: the node of its last cube. `None` where a join of the path is not in the tree.
    #[must_use]
    pub fn node_at(&self, model: &Model, path: &[String]) -> Option<&str> {
        let mut at = self.root.as_str();
        for (index, cube) in path.iter().enumerate() {
            if cube_of(at) == cube {
                continue;
            }
            at = match self.beside(at, cube) {
                Some(node) => node,
                None if is_named(model, at, cube, index) => return None,
                None => self.nodes().find(|node| node == cube)?,
            };
        }
        Some(at)
    }

    /// The node of `cube` that is joined to `at`, or that `at` is joined to: a join that is declared both ways leads back.
    fn beside(&self, at: &str, cube: &str) -> Option<&str> {
        let below = self.edges.iter().find(|edge| edge.from == at && cube_of(&edge.to) == cube);
        let above = self.edges.iter().find(|edge| edge.to == at && cube_of(&edge.from) == cube);
        below.map(|edge| edge.to.as_str()).or(above.map(|edge| edge.from.as_str()))
    }

    /// The nodes of which every row of `node` meets at most one row, `node` itself among them.
    #[must_use]
    pub fn determined_by<'t>(&'t self, model: &Model, node: &'t str) -> HashSet<&'t str> {
        let mut found = HashSet::from([node]);
        let mut stack = vec![node];
        while let Some(at) = stack.pop() {
            for (neighbour, multiplies) in self.neighbours(model, at) {
                if !multiplies && found.insert(neighbour) {
                    stack.push(neighbour);
                }
            }
        }
        found
    }

    /// The nodes joined to `at`, and whether crossing over repeats rows of `at`.
    fn neighbours<'t>(&'t self, model: &Model, at: &str) -> Vec<(&'t str, bool)> {
        self.edges
            .iter()
            .filter_map(|edge| {
                let (neighbour, forward) = match () {
                    () if edge.from == at => (edge.to.as_str(), true),
                    () if edge.to == at => (edge.from.as_str(), false),
                    () => return None,
                };
                let relationship =
                    join_between(model, cube_of(&edge.from), cube_of(&edge.to)).map(|join| join.relationship);
                let multiplies = match relationship {
                    Some(Relationship::OneToMany) => forward,
                    Some(Relationship::ManyToOne) => !forward,
                    Some(Relationship::OneToOne) | None => false,
                };
                Some((neighbour, multiplies))
            })
            .collect()
    }

    #[must_use]
    pub fn contains(&self, node: &str) -> bool {
        self.nodes().any(|known| known == node)
    }

    /// Whether joining the rest of the tree repeats rows of `node` (reference J13).
    #[must_use]
    pub fn multiplies(&self, model: &Model, node: &str) -> bool {
        let mut visited = HashSet::from([node]);
        let mut stack = vec![node];
        while let Some(at) = stack.pop() {
            for (neighbour, multiplies) in self.neighbours(model, at) {
                if !visited.insert(neighbour) {
                    continue;
                }
                if multiplies {
                    return true;
                }
                stack.push(neighbour);
            }
        }
        false
    }
}

/// The join that `from` declares to `to`.
#[must_use]
pub fn join_between<'a>(model: &'a Model, from: &str, to: &str) -> Option<&'a Join> {
    model.cubes.get(from)?.joins.iter().find(|join| join.target == to)
}

/// Finds the tree for `hints`, each a path of cubes, in the order of J10.
///
/// # Errors
/// 0A000 when no root reaches every hint, naming the cubes.
pub fn choose_join_tree(model: &Model, hints: &[Vec<String>]) -> Result<JoinTree> {
    let mut best: Option<JoinTree> = None;
    for hint in hints {
        let Some(root) = hint.first() else { continue };
        if let Some(tree) = tree_from(model, root, hint, hints)
            && best.as_ref().is_none_or(|best| tree.edges.len() < best.edges.len())
        {
            best = Some(tree);
        }
    }
    best.ok_or_else(|| {
        let mut names: Vec<&str> = Vec::new();
        for name in hints.iter().filter_map(|hint| hint.last()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        PlanError::unsupported(format!("no join path connects the cubes {}", quoted.join(", ")))
            .detail("Joins are followed from the cube that declares them, and one cube must reach all the others.")
            .hint(
                "Declare a join from one of these cubes to the other, or query their members in separate sub-queries and \
                 join those.",
            )
    })
}

fn tree_from(model: &Model, root: &str, own_hint: &[String], hints: &[Vec<String>]) -> Option<JoinTree> {
    let mut tree = JoinTree { root: root.to_owned(), edges: Vec::new() };
    walk(model, &mut tree, own_hint)?;
    for hint in hints {
        walk(model, &mut tree, hint)?;
    }
    Some(tree)
}

/// Walks a path from the root, adding the edges that are not in the tree yet.
fn walk(model: &Model, tree: &mut JoinTree, hint: &[String]) -> Option<()> {
    let mut at = tree.root.clone();
    for (index, cube) in hint.iter().enumerate() {
        if cube == cube_of(&at) {
            continue;
        }
        let beside = tree.beside(&at, cube).map(str::to_owned);
        at = match beside {
            Some(node) => node,
            None if is_named(model, &at, cube, index) && tree.contains(cube) => {
                let role = format!("{at}.{cube}");
                tree.edges.push(JoinEdge { from: at, to: role.clone() });
                role
            }
            None if tree.contains(cube) => cube.clone(),
            None => {
                for (_, to) in shortest_path(model, cube_of(&at), cube)? {
                    at = match tree.beside(&at, &to).map(str::to_owned) {
                        Some(node) => node,
                        None => {
                            if !tree.contains(&to) {
                                tree.edges.push(JoinEdge { from: at, to: to.clone() });
                            }
                            to
                        }
                    };
                }
                at
            }
        };
    }
    Some(())
}

/// Whether the step of a path to `cube`, its n-th, names a join: the first may hang anywhere below the root.
fn is_named(model: &Model, at: &str, cube: &str, index: usize) -> bool {
    index > 0 && join_between(model, cube_of(at), cube).is_some()
}

/// Whether declared joins lead from one cube to the other.
#[must_use]
pub fn is_reachable(model: &Model, from: &str, to: &str) -> bool {
    shortest_path(model, from, to).is_some()
}

/// Breadth first, in definition order: all edges weigh the same.
fn shortest_path(model: &Model, from: &str, to: &str) -> Option<Vec<(String, String)>> {
    let mut came_from: HashMap<&str, &str> = HashMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        if at == to {
            let mut path = Vec::new();
            let mut end = to;
            while end != from {
                let before = came_from.get(end)?;
                path.push(((*before).to_owned(), end.to_owned()));
                end = before;
            }
            path.reverse();
            return Some(path);
        }
        for join in &model.cubes.get(at)?.joins {
            let target = join.target.as_str();
            if target != from && !came_from.contains_key(target) {
                came_from.insert(target, at);
                queue.push_back(target);
            }
        }
    }
    None
}
