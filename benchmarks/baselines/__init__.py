"""What would one write without Caravan? Plain programs that do the same main job."""
