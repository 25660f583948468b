//! Which join tree a list of hints gives, and whether it multiplies a cube's rows: the rules of the model language, read anew.

use std::collections::{BTreeSet, VecDeque};

use super::world::{Relation, World};

/// A root and the joins (by index) from it, each after the one that its `from` came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub root: usize,
    pub joins: Vec<usize>,
}

impl Tree {
    pub fn cubes(&self, world: &World) -> BTreeSet<usize> {
        self.joins.iter().map(|join| world.joins[*join].to).chain([self.root]).collect()
    }

    pub fn same_joins(&self, other: &Self) -> bool {
        self.root == other.root && self.join_set() == other.join_set()
    }

    pub fn join_set(&self) -> BTreeSet<usize> {
        self.joins.iter().copied().collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Tree(Tree),
    /// No hint's cube reaches all the others.
    NoPath,
    /// The answer would hang on the order of hints, or on which of several equally short paths is meant.
    Tie,
}

/// A hint is a path of cubes. Each hint's first cube is tried as root; from it every hint is walked by shortest paths, cubes that
/// are there already are not joined again; the root with the fewest joins wins.
pub fn choose(world: &World, hints: &[Vec<usize>]) -> Choice {
    let mut roots: Vec<usize> = Vec::new();
    for hint in hints {
        if !roots.contains(&hint[0]) {
            roots.push(hint[0]);
        }
    }
    let mut best: Option<Tree> = None;
    let mut tie = false;
    for root in roots {
        let Some((tree, ambiguous)) = grow(world, root, hints) else { continue };
        match &best {
            Some(found) if found.joins.len() < tree.joins.len() => {}
            Some(found) if found.joins.len() == tree.joins.len() => tie = true,
            _ => {
                tie = ambiguous;
                best = Some(tree);
            }
        }
    }
    match best {
        None => Choice::NoPath,
        Some(_) if tie => Choice::Tie,
        Some(tree) => Choice::Tree(tree),
    }
}

fn grow(world: &World, root: usize, hints: &[Vec<usize>]) -> Option<(Tree, bool)> {
    let mut tree = Tree { root, joins: Vec::new() };
    let mut joined = BTreeSet::from([root]);
    let mut ambiguous = false;
    for hint in hints {
        let mut at = root;
        for cube in hint {
            if !joined.contains(cube) {
                let (path, others) = shortest(world, at, *cube)?;
                ambiguous |= others;
                for join in path {
                    if joined.insert(world.joins[join].to) {
                        tree.joins.push(join);
                    }
                }
            }
            at = *cube;
        }
    }
    Some((tree, ambiguous))
}

/// The joins of a shortest path, and whether there are others as short.
pub fn shortest(world: &World, from: usize, to: usize) -> Option<(Vec<usize>, bool)> {
    // How far each cube is, by which join one gets there first, and by how many ways.
    let mut found: Vec<Option<(usize, Option<usize>, usize)>> = vec![None; world.cubes.len()];
    found[from] = Some((0, None, 1));
    let mut queue = VecDeque::from([from]);
    while let Some(cube) = queue.pop_front() {
        let (distance, _, ways) = found[cube].expect("what is in the queue was found");
        for (index, join) in world.joins_of(cube) {
            match &mut found[join.to] {
                Some((other, _, more)) if *other == distance + 1 => *more += ways,
                Some(_) => {}
                none => {
                    *none = Some((distance + 1, Some(index), ways));
                    queue.push_back(join.to);
                }
            }
        }
    }
    let (_, _, ways) = found[to]?;
    let mut path = Vec::new();
    let mut at = to;
    while let Some((_, Some(join), _)) = found[at] {
        path.push(join);
        at = world.joins[join].from;
    }
    path.reverse();
    Some((path, ways > 1))
}

/// Whether the tree can repeat a row of `cube`.
pub fn multiplies(world: &World, tree: &Tree, cube: usize) -> bool {
    at_most_one(world, tree, cube).len() < tree.cubes(world).len()
}

/// The cubes of the tree of which a row of `cube` meets at most one row; `cube` is one of them.
pub fn at_most_one(world: &World, tree: &Tree, cube: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::from([cube]);
    let mut stack = vec![cube];
    while let Some(at) = stack.pop() {
        for join in tree.joins.iter().map(|join| &world.joins[*join]) {
            let (next, multiplying) = if join.from == at {
                (join.to, join.relation == Relation::OneToMany)
            } else if join.to == at {
                (join.from, join.relation == Relation::ManyToOne)
            } else {
                continue;
            };
            if !multiplying && seen.insert(next) {
                stack.push(next);
            }
        }
    }
    seen
}
