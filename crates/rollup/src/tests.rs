//! Stores in memory and in folders: what is written is read, whatever happens in between.

mod basics;
mod collection;
mod damage;
mod kills;
mod leases;
mod s3;
mod shop;
