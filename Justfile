# Starts each component for development. `just` is optional: each recipe is one command to copy.

state := "target/development"

# What there is.
default:
    @just --list

# A coordinator and three machines in one terminal, with a live picture of the fleet.
dev *ARGS:
    cargo run --package stead -- dev {{ARGS}}

# The coordinator alone, on an SQLite record under target/development.
coordinator *ARGS:
    cargo run --package stead -- coordinator --data {{state}}/coordinator {{ARGS}}

# One agent whose machine is a folder: `just agent TICKET one`.
agent TICKET NAME="one" *ARGS:
    mkdir -p {{state}}/{{NAME}}
    cargo run --package stead -- agent --join {{TICKET}} --root {{state}}/{{NAME}} {{ARGS}}

# The whole story on a fresh machine; `just demo --once` ends by itself.
demo *ARGS:
    cargo xtask demo {{ARGS}}

# Everything CI checks; `just test --fast` leaves the slow steps out.
test *ARGS:
    cargo xtask test {{ARGS}}

# The house rules alone.
tidy:
    cargo xtask tidy

# Fuzz one decoder, or all: `just fuzz fuzz_frame --seconds 600`.
fuzz *ARGS:
    cargo xtask fuzz {{ARGS}}

# Measure against the budgets; one JSON object a line.
bench *IDS:
    cargo xtask bench {{IDS}}
