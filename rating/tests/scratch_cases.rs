extern crate self as tests;
pub mod machine {
    use std::path::{Path, PathBuf};
    pub fn case(path: &str) -> PathBuf { Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/cases").join(path) }
    pub fn update_expected() -> bool { std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") }
}
#[path = "../../tests/it/cases.rs"] mod cases;
#[path = "../../tests/it/catalog.rs"] mod catalog;
#[path = "../../tests/it/price.rs"] mod price;
#[path = "../../tests/it/allocation.rs"] mod allocation;
