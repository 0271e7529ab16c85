//! The checked-in `api/src/ecs/` and `api/src/elbv2/` are what `api/codegen` writes from the models in `api/model/`.
//!
//! After a change to the model or the generator: `UPDATE=1 cargo test -p ecsr-api --test generated`.

#[path = "../codegen/mod.rs"]
mod codegen;

use std::path::Path;

#[test]
fn checked_in_types_are_what_the_model_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let update = std::env::var_os("UPDATE").is_some();
    for service in codegen::SERVICES {
        let model = std::fs::read_to_string(root.join(format!("model/{}.json", service.name))).unwrap();
        for (name, text) in codegen::generate(service, &model) {
            let path = root.join("src").join(service.name).join(name);
            if update {
                std::fs::write(&path, &text).unwrap();
            }
            let checked_in = std::fs::read_to_string(&path).unwrap();
            assert!(checked_in == text, "{} is stale: run with UPDATE=1", path.display());
        }
    }
}
