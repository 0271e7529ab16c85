//! The checked-in `api/src/ecs/` is what `api/codegen` writes from `api/model/ecs.json`.
//!
//! After a change to the model or the generator: `UPDATE=1 cargo test -p ecsr-api --test generated`.

#[path = "../codegen/mod.rs"]
mod codegen;

use std::path::Path;

#[test]
fn checked_in_types_are_what_the_model_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = std::fs::read_to_string(root.join("model/ecs.json")).unwrap();
    let update = std::env::var_os("UPDATE").is_some();
    for (name, text) in codegen::generate(&model) {
        let path = root.join("src/ecs").join(name);
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let checked_in = std::fs::read_to_string(&path).unwrap();
        assert!(checked_in == text, "{} is stale: run with UPDATE=1", path.display());
    }
}
