"""What other nodes speak. Wire types live and die here; slices see typed domain values only."""
