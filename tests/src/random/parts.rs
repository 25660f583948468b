//! Rollups that have to be joined: a join tree cut at some of its joins, and a rollup for each part.
//!
//! One part has the measures of a fact, the others what its questions group and filter by; each has the keys of the joins to the others. Now and
//! then a part has no rollup, so that a source is asked; or its rollup has several rows for a key, lacks some rows, or holds a member of another part.

use std::cmp::Reverse;

use super::dice::Dice;
use super::query::{Column, Focus, Role, Scope, kind, scope};
use super::rollups::{Rollup, granularity, is_of, member_name, partition};
use super::tree::{Choice, Tree, choose, multiplies, shortest};
use super::world::{Kind, Relation, World};

/// A part of a tree, and its rollup.
struct Part {
    /// The walks to its cubes from the topmost, that one's first.
    walks: Vec<Vec<usize>>,
    rollup: Rollup,
}

impl Part {
    fn of(top: usize, name: String) -> Self {
        Self { walks: vec![vec![top]], rollup: Rollup { owner: top, name, ..Rollup::default() } }
    }

    fn walk_to(&self, cube: usize) -> Option<&Vec<usize>> {
        self.walks.iter().find(|walk| walk.last() == Some(&cube))
    }

    /// A member of one of its cubes as its rollup writes it.
    fn reference(&self, world: &World, cube: usize, name: &str) -> Option<String> {
        self.walk_to(cube).map(|walk| written(world, walk, name))
    }

    /// Stores a column of the scope, a time by a granularity.
    fn store(&mut self, world: &World, column: &Column, unit: Option<&'static str>) {
        let Some(name) = self.reference(world, column.cube, member_name(world, column)) else { return };
        let names = match (column.role, unit) {
            (Role::Dimension(_), Some(unit)) => {
                if !self.rollup.times.iter().any(|(known, _)| *known == name) {
                    self.rollup.times.push((name, unit));
                }
                return;
            }
            (Role::Dimension(_), None) => &mut self.rollup.dimensions,
            (Role::Segment(_), _) => &mut self.rollup.segments,
            (Role::Measure(_), _) => &mut self.rollup.measures,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }

    fn store_dimension(&mut self, name: Option<String>) {
        if let Some(name) = name.filter(|name| !self.rollup.dimensions.contains(name)) {
            self.rollup.dimensions.push(name);
        }
    }
}

/// `CUBE.name` of the first cube of a walk, `first.second.name` of another.
fn written(world: &World, walk: &[usize], name: &str) -> String {
    match walk {
        [_] => format!("CUBE.{name}"),
        _ => {
            let cubes: Vec<&str> = walk.iter().map(|cube| world.cubes[*cube].name.as_str()).collect();
            format!("{}.{name}", cubes.join("."))
        }
    }
}

/// The dimensions that are the columns of a join, of both sides; `None` where one is no dimension.
fn keys(world: &World, join: usize) -> Option<Vec<(&str, &str)>> {
    let join = &world.joins[join];
    let dimension = |cube: usize, column: &str| {
        let own = &world.cubes[cube].dimensions;
        own.iter().find(|dimension| dimension.sql == format!("$.{column}")).map(|dimension| dimension.name.as_str())
    };
    join.pairs.iter().map(|(from, to)| Some((dimension(join.from, from)?, dimension(join.to, to)?))).collect()
}

/// Rollups for a tree of several cubes, and the columns that they store; `None` where the dice found nothing to cut.
pub fn invent(dice: &mut Dice, world: &World, number: usize) -> Option<(Vec<Rollup>, Focus)> {
    let scope = scope(dice, world);
    let (fact, measures, tree) = choose_tree(dice, world, &scope)?;
    let is_repeated = multiplies(world, &tree, fact);
    if is_repeated && dice.chance(70) {
        return None;
    }
    let cuttable: Vec<usize> = tree.joins.iter().copied().filter(|join| keys(world, *join).is_some()).collect();
    let mut cut = dice.some(&cuttable, 60);
    if cut.is_empty() {
        cut.push(*cuttable.get(dice.below(cuttable.len()))?);
    }
    let mut parts = cut_apart(world, &tree, &cut, number);
    let of_fact = parts.iter().position(|part| part.walk_to(fact).is_some())?;
    let mut whole = Part::of(tree.root, format!("j{number}_joined"));
    for join in tree.joins.iter().map(|join| &world.joins[*join]) {
        let walk = whole.walk_to(join.from)?.iter().copied().chain([join.to]).collect();
        whole.walks.push(walk);
    }
    for column in &measures {
        parts[of_fact].store(world, &scope.columns[*column], None);
        whole.store(world, &scope.columns[*column], None);
    }
    parts[of_fact].rollup.exact_distinct = dice.chance(50);
    parts[of_fact].rollup.reads_base_rows = dice.chance(20);
    // Repeated rows are told apart by it.
    if is_repeated && dice.chance(85) {
        for key in world.cubes[fact].dimensions.iter().filter(|dimension| dimension.is_key) {
            let name = parts[of_fact].reference(world, fact, &key.name);
            parts[of_fact].store_dimension(name);
        }
    }
    let mut focus =
        Focus { scope: scope.clone(), rows: Vec::new(), measures, times: Vec::new(), exactly: None, far: Vec::new() };
    for (place, part) in parts.iter_mut().enumerate() {
        let mut own: Vec<usize> = (0..scope.columns.len())
            .filter(|column| {
                let of = &scope.columns[*column];
                !matches!(of.role, Role::Measure(_)) && part.walk_to(of.cube).is_some()
            })
            .collect();
        dice.shuffle(&mut own);
        if place == of_fact {
            own.sort_by_key(|column| kind(world, &scope, *column) != Kind::Time);
        }
        for column in own.into_iter().take(dice.between(1, 4)) {
            let is_time = matches!(kind(world, &scope, column), Kind::Time | Kind::Date);
            let often = if place == of_fact { 85 } else { 45 };
            if is_time && focus.times.len() < 3 && dice.chance(often) {
                let unit = granularity(dice, world, &scope, column);
                part.store(world, &scope.columns[column], Some(unit));
                whole.store(world, &scope.columns[column], Some(unit));
                focus.times.push((column, unit));
            } else {
                part.store(world, &scope.columns[column], None);
                whole.store(world, &scope.columns[column], None);
                focus.rows.push(column);
            }
            if place != of_fact {
                focus.far.push(column);
            }
        }
        let often = if place == of_fact { 75 } else { 20 };
        if let Some((_, unit)) = part.rollup.times.first().cloned()
            && dice.chance(often)
        {
            partition(dice, world, unit, &mut part.rollup);
        }
        if place != of_fact {
            store_more(dice, world, &tree, part);
        }
    }
    if focus.far.is_empty() {
        return None;
    }
    // A member of another part as the fact's part sees it.
    if dice.chance(12) {
        let far = &scope.columns[*dice.pick(&focus.far)];
        let top = parts[of_fact].walks[0][0];
        if let Some((joins, false)) = shortest(world, top, far.cube) {
            let walk: Vec<usize> = [top].into_iter().chain(joins.iter().map(|join| world.joins[*join].to)).collect();
            if matches!(far.role, Role::Dimension(_)) {
                parts[of_fact].store_dimension(Some(written(world, &walk, member_name(world, far))));
            }
        }
    }
    // A part without a rollup is one cube.
    let bare = (0..parts.len()).find(|place| *place != of_fact && parts[*place].walks.len() == 1);
    let bare = bare.filter(|_| dice.chance(40));
    let is_declared = bare.is_none() && dice.chance(45);
    let mut rollups: Vec<Rollup> = parts.into_iter().map(|part| part.rollup).collect();
    if is_declared {
        let names = rollups.iter().map(|rollup| format!("{}.{}", world.cubes[rollup.owner].name, rollup.name));
        whole.rollup.rollups = names.collect();
        whole.rollup.of_type = Some("rollup_join");
        rollups.push(whole.rollup);
    }
    if let Some(bare) = bare {
        rollups.remove(bare);
    }
    Some((rollups, focus))
}

/// A fact, its measures, and the tree that joins it with some places of the scope.
fn choose_tree(dice: &mut Dice, world: &World, scope: &Scope) -> Option<(usize, Vec<usize>, Tree)> {
    let all: Vec<usize> = (0..scope.columns.len())
        .filter(|column| {
            matches!(scope.columns[*column].role, Role::Measure(_)) && is_of_own_cube(world, scope, *column)
        })
        .collect();
    let fact = &scope.columns[*all.get(dice.below(all.len()))?];
    let measures: Vec<usize> = all.iter().copied().filter(|column| scope.columns[*column].path == fact.path).collect();
    let mut places: Vec<Vec<usize>> = Vec::new();
    for column in scope.columns.iter().filter(|column| !matches!(column.role, Role::Measure(_))) {
        if column.path != fact.path && !places.contains(&column.path) {
            places.push(column.path.clone());
        }
    }
    dice.shuffle(&mut places);
    // Chains.
    if dice.chance(50) {
        places.sort_by_key(|path| Reverse(path.len()));
    }
    places.truncate(dice.between(1, 3));
    let mut hints = vec![fact.path.clone()];
    hints.extend(places);
    if scope.cubes.len() > 1 {
        hints.extend(scope.cubes.iter().map(|cube| vec![*cube]));
    }
    let Choice::Tree(tree) = choose(world, &hints) else { return None };
    let some = if measures.len() > 3 { dice.some(&measures, 70) } else { Vec::new() };
    Some((fact.cube, if some.is_empty() { measures } else { some }, tree))
}

fn is_of_own_cube(world: &World, scope: &Scope, column: usize) -> bool {
    let column = &scope.columns[column];
    let Role::Measure(measure) = column.role else { return false };
    is_of(world, column.cube, measure, column.cube)
}

fn cut_apart(world: &World, tree: &Tree, cut: &[usize], number: usize) -> Vec<Part> {
    let name = |cube: usize| format!("j{number}_{cube}");
    let mut parts = vec![Part::of(tree.root, name(tree.root))];
    for index in &tree.joins {
        let join = &world.joins[*index];
        let above = parts.iter().position(|part| part.walk_to(join.from).is_some());
        let above = &mut parts[above.expect("a join begins at a cube that is there")];
        match keys(world, *index).filter(|_| cut.contains(index)) {
            None => {
                let walk = above.walk_to(join.from).expect("it was found by it");
                let longer = walk.iter().copied().chain([join.to]).collect();
                above.walks.push(longer);
            }
            Some(keys) => {
                let mut below = Part::of(join.to, name(join.to));
                for (from, to) in keys {
                    let from = above.reference(world, join.from, from);
                    above.store_dimension(from);
                    let to = below.reference(world, join.to, to);
                    below.store_dimension(to);
                }
                parts.push(below);
            }
        }
    }
    parts
}

/// What no question about the whole asks for: measures, other dimensions, also of cubes of which a row has several, so that a key has.
fn store_more(dice: &mut Dice, world: &World, tree: &Tree, part: &mut Part) {
    let top = part.walks[0][0];
    if dice.chance(30) {
        let measures = &world.cubes[top].measures;
        let own: Vec<usize> = (0..measures.len()).filter(|measure| is_of(world, top, *measure, top)).collect();
        if let Some(measure) = own.get(dice.below(own.len())) {
            part.rollup.measures.push(format!("CUBE.{}", measures[*measure].name));
        }
    }
    let there = tree.cubes(world);
    let mut others = vec![vec![top]];
    // The same for all rollups of a cube: of several the smallest is read.
    let has_several = world.cubes[top].rows.len().is_multiple_of(2);
    for cube in (0..world.cubes.len()).filter(|cube| has_several && !there.contains(cube)) {
        let Some((joins, false)) = shortest(world, top, cube) else { continue };
        let joins = joins.iter().map(|join| &world.joins[*join]);
        if joins.clone().any(|join| join.relation == Relation::OneToMany) {
            others.push(std::iter::once(top).chain(joins.map(|join| join.to)).collect());
        }
    }
    for walk in others {
        if dice.chance(if walk.len() > 1 { 80 } else { 40 }) {
            let dimensions = &world.cubes[walk[walk.len() - 1]].dimensions;
            part.store_dimension(Some(written(world, &walk, &dice.pick(dimensions).name)));
        }
    }
}
