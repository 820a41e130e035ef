"""Running a trained net as fast as this machine can: engines, exported forms, which of them is used."""
