//! The demonstration: an owner signs a change, the machines apply it, a forged one is refused, and a withdrawn one leaves no trace.

use super::household::Household;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::terminal::Style;

/// What the owner wants of the machines.
const PROFILE: &str = "\
apiVersion: stead.dev/v1
kind: Profile
metadata:
  name: greeting
spec:
  selector:
    matchLabels:
      role: web
  directories:
    - path: /etc
    - path: /etc/stead-demo
  files:
    - path: /etc/stead-demo/motd
      content: |
        This machine is as its owners signed it.
      mode: \"0644\"
  links:
    - path: /etc/motd
      target: stead-demo/motd
  commands:
    - name: stamp
      check: [\"test\", \"-e\", \"etc/stead-demo/stamp\"]
      run: [\"touch\", \"etc/stead-demo/stamp\"]
      undo: [\"rm\", \"-f\", \"etc/stead-demo/stamp\"]
";

/// What somebody else wants of them.
const FORGED: &str = "\
apiVersion: stead.dev/v1
kind: Profile
metadata:
  name: greeting
spec:
  selector: {}
  files:
    - path: /etc/stead-demo/motd
      content: |
        All your machines are belong to us.
";

/// How long each step may take.
const PATIENCE: &str = "120s";

/// Plays it.
pub(crate) async fn play(household: &Household) -> Result<(), Failure> {
    let owner = household.path("home/owner").display().to_string();
    let stranger = household.make_key("home/stranger")?.display().to_string();
    let (profile, forged) = (write(household, "home/greeting.yaml", PROFILE)?, write(household, "home/forged.yaml", FORGED)?);

    heading(household, "1. The machines are there, each known by its key");
    let names = household.names();
    let words = ["wait", "machine"].into_iter().chain(names.iter().map(String::as_str));
    let words: Vec<&str> = words.chain(["--for", "condition=Ready", "--timeout", PATIENCE]).collect();
    household.must(&words).await?;
    household.must(&["get", "machines"]).await?;

    heading(household, "2. An owner signs a change; each machine verifies it, applies it, and says so");
    let before = household.type_command(&["diff", "-f", &profile, "--key", &owner]).await?;
    if before.code != i32::from(ExitCode::Changed.number()) {
        return Err(Failure::internal(format!("the difference should have shown a change, and ended with {}", before.code)));
    }
    household.must(&["apply", "-f", &profile, "-m", "greet whoever logs in", "--key", &owner]).await?;
    household.must(&["wait", "profile/greeting", "--for", "condition=Converged", "--timeout", PATIENCE]).await?;
    household.must(&["get", "profiles"]).await?;
    let signed = "This machine is as its owners signed it.\n";
    expect_everywhere(household, signed)?;

    heading(household, "3. A change that a stranger signed is refused, and no machine has it");
    refuse(household, &["apply", "-f", &forged, "-m", "forged", "--key", &stranger]).await?;
    household.say("  the same, sent by somebody who stole the owner's session but not the key:");
    let refusal = super::forge::send(household, &forged, &household.path("home/owner"), &household.path("home/stranger")).await?;
    for line in refusal.lines() {
        household.say(&format!("  {line}"));
    }
    expect_everywhere(household, signed)?;

    heading(household, "4. What somebody changes by hand is put right");
    let file = household.root_of(1).join("etc/stead-demo/motd");
    std::fs::write(&file, "changed by hand\n").map_err(|error| Failure::internal(format!("{}: {error}", file.display())))?;
    household.say("  somebody wrote to /etc/stead-demo/motd on m1; the agent looks again within 5 s");
    await_content(&file, signed).await?;
    household.say("  it is as signed again");
    household.must(&["get", "changes"]).await?;
    household.say(
        &household
            .terminal()
            .on_stderr(Style::Good, "\nThe fleet is as its owners signed it, and the forged change was refused."),
    );
    Ok(())
}

fn heading(household: &Household, text: &str) {
    household.say(&household.terminal().on_stderr(Style::Strong, &format!("\n{text}")));
}

fn write(household: &Household, below: &str, text: &str) -> Result<String, Failure> {
    let path = household.path(below);
    std::fs::write(&path, text).map_err(|error| Failure::internal(format!("{}: {error}", path.display())))?;
    Ok(path.display().to_string())
}

async fn refuse(household: &Household, arguments: &[&str]) -> Result<(), Failure> {
    let said = household.type_command(arguments).await?;
    if said.code == i32::from(ExitCode::Refused.number()) {
        return Ok(());
    }
    Err(Failure::internal(format!(
        "a forged change must be refused with {}, and it ended with {}",
        ExitCode::Refused.number(),
        said.code
    )))
}

/// Looks at the machines' files, not at messages.
fn expect_everywhere(household: &Household, content: &str) -> Result<(), Failure> {
    for machine in 1..=household.machines() {
        let path = household.root_of(machine).join("etc/motd");
        let found = std::fs::read_to_string(&path).map_err(|error| Failure::internal(format!("{}: {error}", path.display())))?;
        if found != content {
            return Err(Failure::internal(format!("{} holds {found:?}", path.display())));
        }
    }
    household.say(&format!("  /etc/motd on each of {} machines: {}", household.machines(), content.trim_end()));
    Ok(())
}

/// Waits until a file is as it should be; the machine looks again by its own clock.
async fn await_content(path: &std::path::Path, content: &str) -> Result<(), Failure> {
    /// Several times the agents' period, for a machine that is busy with a build.
    const TRIES_MAX: u32 = 240;
    for _ in 0..TRIES_MAX {
        if std::fs::read_to_string(path).is_ok_and(|found| found == content) {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    Err(Failure::internal(format!("{} was not put right", path.display())))
}
