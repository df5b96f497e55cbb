"""What `etl.sample` is made of: texts of whole columns, values of fields, and faults for some of the lines."""
