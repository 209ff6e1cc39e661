//! Messages on terminals of some width.

use crate::support::pseudo_terminal::kic_on_a_terminal;

/// The longest line of a message on such a terminal, in characters.
fn longest(columns: u16, variable: Option<&str>) -> Option<usize> {
    let arguments = ["inspect", "https://registry.example.com/a/b/c:v1.2.3"];
    let mut command = kic_on_a_terminal(columns, &arguments, &[])?;
    command.env("NO_COLOR", "1");
    command.env_remove("COLUMNS").envs(variable.map(|columns| ("COLUMNS", columns)));
    let output = command.output().unwrap();
    let screen = String::from_utf8_lossy(&output.stdout);
    assert!(screen.contains("invalid-image"), "{screen}");
    screen.lines().map(|line| line.chars().count()).max()
}

#[test]
fn messages_are_as_wide_as_the_terminal() {
    let Some(of_narrow) = longest(60, None) else { return };
    assert!((50..=60).contains(&of_narrow), "{of_narrow}");
    for (columns, variable) in [(90, None), (60, Some("90"))] {
        let of_wide = longest(columns, variable).unwrap();
        assert!((70..=90).contains(&of_wide), "{columns}, {variable:?}: {of_wide}");
    }
    // A terminal that does not know counts as one of a hundred.
    assert!(longest(0, None).unwrap() > 60);
}
