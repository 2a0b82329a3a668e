Feature: nothing goes live that is not committed

  As somebody who answers for production
  I want to know from which commit a release was taken, and to refuse what is in none
  So that what runs there can be found again, by anybody, and nothing gets in by mistake.

  Background:
    Given an environment production with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |
    And the manifest of the app shop also says:
      """
      environments:
        production: {nats: BUS-OF-production, source: {clean: true}}
      """
    And somebody starts the programs of the app shop in production

  Scenario: a folder that differs from its commit is refused
    Given the folder of the app shop is committed to git
    And the file notes of the app shop is:
      """
      buy milk
      """
    When I run "golive deploy --env production shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: production takes releases only from a folder in which nothing differs from its commit (source: {clean: true}), and these do:
      golive: error:   notes
      golive: hint: commit them, put them into .gitignore, or take what is committed: golive deploy --env production --commit HEAD
      """
    And in production search does not answer
    When I run "golive history --env production" in the folder of the app shop
    Then the answer is:
      """
      There has been no rollout here yet.
      """
    When the folder of the app shop is committed to git
    And I run "golive deploy --env production shop"
    Then it ends with code 0
    And in production search answers as version 1.0.0
    When I run "golive show ROLLOUT --env production" in the folder of the app shop
    Then the answer holds "source: commit …"
    When I run "golive history --env production -o json" in the folder of the app shop
    Then the answer holds these lines:
      """
      "source": {
      "commit": "…",
      "describe": "…"
      """

  Scenario: a folder in no repository is refused, and so is one without a commit
    When I run "golive deploy --env production shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: production takes releases only from a folder in which nothing differs from its commit (source: {clean: true}), and it cannot be told for this one: no git repository: … is in none
      golive: hint: deploy from the folder of shop in a work tree of its git repository
      """
    Given the folder of the app shop is a git repository
    When I run "golive deploy --env production shop"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: production takes releases only from a folder in which nothing differs from its commit (source: {clean: true}), and it cannot be told for this one: no commit: the git repository … has none yet
      """

  Scenario: what is in a commit, and nothing else, is deployed
    Given the folder of the app shop is committed to git, with the tag v1
    And the manifest of the app shop is:
      """
      this is no manifest any more
      """
    When I run "golive plan --env production --commit v1 shop" with GOLIVE_NATS_URL=BUS-OF-production
    Then it ends with code 3
    And the answer holds these lines:
      """
      plan …: shop 1.0.0, strategy parallel, 1 of 1 step to do
      source: commit … (v1)
      To do exactly this: golive deploy shop --plan … --env production --commit v1
      """
    When I run "golive deploy --env production --commit v1 shop" with GOLIVE_NATS_URL=BUS-OF-production
    Then it ends with code 0
    And in production search answers as version 1.0.0
    When I run "golive deploy --commit v2 shop" with GOLIVE_NATS_URL=BUS-OF-production
    Then it ends with code 2
    And I am told:
      """
      golive: error: --commit: no commit: "v2" names none in the git repository <folder>
      golive: hint: git log --oneline lists commits
      """
