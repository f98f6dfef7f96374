"""Tables that fit any terminal: where there is no room for the columns side by side, they stand one below the other."""

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


class FittingTable(Table):
    """A table of which nothing is cut off; Rich would cut cells, and leave out columns that have no room."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table if no word of it has to be broken, else its rows one after the other."""
        unbounded, least, most = options.update_width(1_000_000), [], []
        for column in self.columns:
            cells = [Measurement.get(console, unbounded, cell) for cell in (column.header, *column.cells)]
            most.append(max(cell.maximum for cell in cells))
            least.append(most[-1] if column.no_wrap else max(cell.minimum for cell in cells))
            column.width = least[-1]
        spare = options.max_width - Measurement.get(console, unbounded, self).minimum
        if spare >= 0:
            wanted = [largest - smallest for largest, smallest in zip(most, least, strict=True)]
            share = min(1, spare / max(sum(wanted), 1))
            for column, smallest, more in zip(self.columns, least, wanted, strict=True):
                column.width = smallest + int(share * more)
            yield from super().__rich_console__(console, options)
            return
        for index, row in enumerate(self.rows):
            if index:
                yield Text()
            lines = Table.grid(padding=(0, 1), pad_edge=False)
            lines.add_column(style=self.header_style, overflow="fold")
            lines.add_column(overflow="fold")
            for column in self.columns:
                lines.add_row(column.header, list(column.cells)[index], style=row.style)
            yield lines
