"""The monitor's database: connections, statements, migrations, and reads and writes by subject."""
