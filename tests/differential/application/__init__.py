"""An application that uses all of FastAPI that overdrive compiles, a module for each theme."""
