//! Random models, data and queries: what Belvedere answers must be what naive SQL over the tables gives.
//!
//! In reading order: [`world`] makes cubes, rows, joins and views; [`query`] a question and its text;
//! [`rollups`] what is stored for some questions; [`tree`] and [`reference`] read the
//! rules of the model language anew (not from the planner) and write the same question as plain SQL; [`files`] is the world on disk;
//! [`case`] a kept failure; [`judge`] asks both sides; below is the run. `tests/random_cases` has the kept failures.
//!
//! `BELVEDERE_RANDOM_SEED` (a number) and `BELVEDERE_RANDOM_QUERIES` set what is run; without them another seed is taken every time.

mod case;
pub mod dice;
mod files;
mod judge;
mod parts;
mod query;
mod reference;
mod rollups;
mod run;
mod tree;
mod world;
