//! When what is looked at again.
