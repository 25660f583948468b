//! (under construction)
pub struct FilesSource;
pub struct FilesConfig;
