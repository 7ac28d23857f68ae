package foreign

import (
	"slices"
	"strings"
)

// Comments collects the comments of a file that has sections, line by line, until it is known
// which section they are about.
type Comments struct {
	Pending []string // those that may be about the next section

	open     bool // the line before was a comment; it and those directly before it are the block
	from     int  // where the block begins in Pending
	attached bool // the block follows a line of a section without a blank line
	disabled bool // the block has a section that was commented out
}

// Add reads a line that is a comment; attached says that the line before belongs to a section. A
// section that was commented out, with the comments around it, says nothing about the next one:
// it would give that one another peer's name. It returns such comments.
func (c *Comments) Add(line string, attached bool, sections ...string) (aside []string) {
	if !c.open {
		*c = Comments{Pending: c.Pending, open: true, from: len(c.Pending), attached: attached}
	}
	text, ok := Comment(line)
	if !ok {
		return nil
	}
	for _, s := range sections {
		c.disabled = c.disabled || strings.EqualFold("["+s+"]", text)
	}
	if c.Pending = append(c.Pending, text); c.disabled {
		return c.takeBlock()
	}
	return nil
}

// Close ends the block at a line that is no comment.
func (c *Comments) Close() { c.open = false }

// Blank ends the block at a blank line. It returns the comments that follow a section without a
// blank line before them: they are about that one, and not about the next.
func (c *Comments) Blank() (before []string) {
	if c.open && c.attached {
		before = c.takeBlock()
	}
	*c = Comments{Pending: c.Pending}
	return before
}

// None reports whether nothing of the lines before matters to the next one.
func (c *Comments) None() bool { return len(c.Pending) == 0 && !c.open && !c.attached && !c.disabled }

// Take returns the comments that were collected.
func (c *Comments) Take() []string {
	all := c.Pending
	*c = Comments{}
	return all
}

func (c *Comments) takeBlock() []string {
	block := slices.Clone(c.Pending[c.from:])
	c.Pending = c.Pending[:c.from]
	return block
}

// TakeDescription returns the comment with a description that follows the lines of a section
// directly: it is about that one. The description of the next one follows its name, or a blank
// line.
func (c *Comments) TakeDescription() (comment []string) {
	if !c.attached || len(c.Pending) <= c.from {
		return nil
	}
	if described, _ := DescribedIn(c.Pending[c.from:][:1]); described == "" {
		return nil
	}
	comment = []string{c.Pending[c.from]}
	c.Pending = slices.Delete(c.Pending, c.from, c.from+1)
	return comment
}
