//! A card that is asked for where none can be had.

use std::path::Path;

use crate::process::{place, refusal};

#[test]
fn a_card_that_is_not_there_is_refused_in_one_line() {
    if Path::new("/dev/nvidiactl").exists() {
        eprintln!("left out: this machine has a card");
        return;
    }
    let folder = place("no-card");
    for arguments in [
        &["generate", "--model=nano", "--prompt=a", "--device=cuda"][..],
        &["verify", "--device=cuda"][..],
        &["train", "--device=cuda", "--out=run"][..],
    ] {
        let found = refusal(&folder, arguments);
        assert!(
            found.contains("--device is cuda, but no NVIDIA driver"),
            "{found}"
        );
        assert!(found.contains("; choose --device cpu"), "{found}");
        assert!(!folder.join("run").exists(), "{arguments:?}");
    }
}
