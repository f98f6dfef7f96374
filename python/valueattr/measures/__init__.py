"""What is measured of a model before, along and after training: a module for each measure, and the `Battery` of all."""
